"""Part 5's apps: as processes, started as the lesson starts them, and in this process."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from course import ports
from part5 import crud_pydantic, crud_sql
from part5.settings import Settings
from tests.conftest import ROOT, Database, clean_environment


@dataclass
class Api:
    """A running API and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    port: int
    log: Path

    def stop(self) -> None:
        """End it as `docker stop` does, and see that it went in order."""
        self.process.send_signal(signal.SIGTERM)
        # uvicorn shuts down, and then lets the signal have the effect that it has by itself.
        assert self.process.wait(timeout=30) == -signal.SIGTERM
        assert "Application shutdown complete" in self.log.read_text()


StartApi = Callable[..., Api]


def uvicorn(app: str, *options: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of `uvicorn part5.APP:app`."""
    command = [sys.executable, "-m", "uvicorn", f"part5.{app}:app", *options]
    return command, clean_environment() | variables


@pytest.fixture(scope="module")
def start_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartApi]:
    """A function that runs `uvicorn part5.NAME:app` and waits until it answers."""
    started: list[Api] = []

    def start(name: str, *options: str, **variables: str) -> Api:
        folder = tmp_path_factory.mktemp(name)
        # Below the ephemeral range, and apart from what other workers choose.
        port = ports.choose(random.randint(20_000, 32_000))
        variables = {"USERS_DATABASE_URL": f"sqlite:///{folder}/users.db"} | variables
        command, environment = uvicorn(name, f"--port={port}", *options, **variables)
        log = folder / "api.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        started.append(Api(process, client, port, log))
        deadline = time.monotonic() + 60
        while f"running on http://127.0.0.1:{port}" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return started[-1]

    yield start
    for api in started:
        api.client.close()
        if api.process.poll() is None:
            api.stop()


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
