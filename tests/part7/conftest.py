"""Part 7: a fake model server, both databases, and the chat server on them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from serve.migrations.run import migrate

from tests.conftest import Database
from tests.part7.servers import Chat, ChatProcess, Fake, chat_in_thread, chat_process

StartChat = Callable[..., Chat]
StartProcess = Callable[..., ChatProcess]


@pytest.fixture(scope="session")
def shared_fake() -> Iterator[Fake]:
    """One fake model server for the worker."""
    fake = Fake()
    yield fake
    fake.stop()


@pytest.fixture
def fake(shared_fake: Fake) -> Fake:
    """A fake model server that has forgotten what it was told and asked."""
    shared_fake.does()
    shared_fake.app.exchanges.clear()
    return shared_fake


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied: migrating takes longer."""
    file = tmp_path_factory.mktemp("migrated") / "chat.db"
    migrate(f"sqlite:///{file}", 10)
    return file


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """An empty SQLite database."""
    copy = tmp_path / "chat.db"
    with sqlite3.connect(migrated_file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    return f"sqlite:///{copy}"


@pytest.fixture
def postgresql_url(database: Database) -> str:
    """An empty PostgreSQL database."""
    url = database.url.replace("+psycopg2", "+psycopg")
    migrate(url, 10)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of both kinds in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def start_chat(fake: Fake, database_url: str) -> Iterator[StartChat]:
    """A function that runs the chat server in this process, with settings."""
    with ExitStack() as running:

        def start(**settings: Any) -> Chat:
            return running.enter_context(chat_in_thread(fake, database_url, **settings))

        yield start


@pytest.fixture
def chat(start_chat: StartChat) -> Chat:
    """The chat server with its usual settings."""
    return start_chat()


@pytest.fixture
def start_process(fake: Fake, database_url: str, tmp_path: Path) -> Iterator[StartProcess]:
    """A function that runs the chat server as a process, with variables."""
    with ExitStack() as running:

        def start(**variables: str) -> ChatProcess:
            return running.enter_context(chat_process(fake, database_url, tmp_path, **variables))

        yield start


@pytest.fixture
def gates(fake: Fake) -> Iterator[set[str]]:
    """The open gates of the fake model server: none yet, and no scripts but the first."""
    fake.app.scripts.clear()
    fake.app.open_gates.clear()
    yield fake.app.open_gates
    fake.app.scripts.clear()
    fake.app.open_gates.clear()
