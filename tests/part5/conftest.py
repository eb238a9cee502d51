"""Part 5's apps: as processes, started as the lesson starts them, and in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from part5 import crud_pydantic, crud_sql
from part5.settings import Settings
from tests.apis import Api, running_api
from tests.conftest import Database

StartApi = Callable[..., Api]


@pytest.fixture(scope="module")
def start_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartApi]:
    """A function that runs `uvicorn part5.NAME:app` and waits until it answers."""
    with ExitStack() as running:

        def start(name: str, *options: str, **variables: str) -> Api:
            folder = tmp_path_factory.mktemp(name)
            variables = {"USERS_DATABASE_URL": f"sqlite:///{folder}/users.db"} | variables
            api = running_api(f"part5.{name}:app", folder, *options, **variables)
            return running.enter_context(api)

        yield start


def on_psycopg(database: Database) -> str:
    """The address of a test's database as part 5 wants it."""
    return database.url.replace("+psycopg2", "+psycopg")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def users_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an empty database, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/users.db"
    return on_psycopg(request.getfixturevalue("module_database"))


OpenApi = Callable[[str], TestClient]


@pytest.fixture
def open_sql(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenApi]:
    """A function that runs `crud_sql` in this process, on the database that it is told."""
    clients: list[TestClient] = []

    def start(url: str) -> TestClient:
        settings = Settings(users_database_url=SecretStr(url), db_wait_seconds=5)
        monkeypatch.setattr(crud_sql, "settings", settings)
        clients.append(TestClient(crud_sql.app))
        return clients[-1].__enter__()

    yield start
    for client in clients:
        client.__exit__()


@pytest.fixture(params=["crud_pydantic", "crud_sql"])
def crud(request: pytest.FixtureRequest, open_sql: OpenApi, tmp_path: Path) -> Iterator[TestClient]:
    """The API without users, in memory and in a database in turn."""
    if request.param == "crud_sql":
        yield open_sql(f"sqlite:///{tmp_path}/users.db")
        return
    crud_pydantic.users.clear()
    with TestClient(crud_pydantic.app) as client:
        yield client
