"""Fixtures of part 1: a database with the table, a server that may be killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from part1.schema import metadata
from tests.conftest import Database
from tests.faults import OwnPostgres


def create_table(url: str) -> None:
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()


@pytest.fixture
def iris_table(database: Database) -> Database:
    """A database of the test's own with an empty table iris_data."""
    create_table(database.url)
    return database


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    """A PostgreSQL server that the tests of one module may stop and kill."""
    server = OwnPostgres(Path(tmp_path_factory.mktemp("postgres")))
    yield server
    server.remove()


@pytest.fixture
def own_postgres(own_server: OwnPostgres) -> OwnPostgres:
    """The same server, running, with an empty table iris_data."""
    own_server.start()
    with own_server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS iris_data")
    create_table(f"postgresql+psycopg2://myuser:mypassword@127.0.0.1:{own_server.port}/mydatabase")
    return own_server
