"""The archive's compose file still starts, with its fixed names and port moved out of the way."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.compose import Compose
from tests.conftest import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def part1(tmp_path: Path) -> Iterator[Compose]:
    """A copy of archive/part1 whose port is free and whose containers have names of their own."""
    for file in (ROOT / "archive" / "part1").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    project = Compose(tmp_path, ("docker-compose.yaml",))
    file = tmp_path / "docker-compose.yaml"
    text = file.read_text(encoding="utf-8")
    for old, new in {
        "5432:5432": f"{project.ports['POSTGRES_PORT']}:5432",
        "container_name: ": f"container_name: {project.name}-",
    }.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    yield project
    project.down()


def rows(port: int) -> int:
    """How many rows there are; 0 while the server or the table is not there yet."""
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=port,
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
            connect_timeout=5,
        ) as connection:
            counted = connection.execute("SELECT count(*) FROM iris_data").fetchone()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return 0
    assert counted is not None
    return int(counted[0])


def test_the_generator_fills_the_database_of_its_compose_file(part1: Compose) -> None:
    part1.run("up", "--build", "--detach")

    # The generator sleeps five seconds whenever the database is not ready.
    deadline = time.monotonic() + 60
    while rows(part1.ports["POSTGRES_PORT"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)

    assert rows(part1.ports["POSTGRES_PORT"]) >= 2
