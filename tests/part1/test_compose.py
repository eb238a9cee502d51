"""Part 1 in containers: up, written to, killed, up again, and every row still there."""

import time
from collections.abc import Callable

import psycopg
import pytest

from tests.compose import Compose
from tests.part1.generator import assert_exactly_once, count_rows
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.docker

MakeCompose = Callable[..., Compose]


def connect(
    project: Compose, user: str = "myuser", password: str = "mypassword"
) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=project.ports["POSTGRES_PORT"],
        user=user,
        password=password,
        dbname="mydatabase",
        autocommit=True,
    )


def wait_for_rows(connection: psycopg.Connection, count: int) -> None:
    wait_for(lambda: count_rows(connection) >= count, lambda: f"{count_rows(connection)} rows")


@pytest.mark.slow
def test_rows_survive_a_killed_database_and_a_new_start(
    compose: MakeCompose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_RATE", "50")
    part1 = compose("part1")
    part1.up()
    assert part1.states() == {
        "postgres-server": "running (healthy)",
        "data-generator": "running (healthy)",
    }
    with connect(part1) as connection:
        wait_for_rows(connection, 100)
        before = assert_exactly_once(connection)

    part1.kill("postgres-server")
    assert part1.states()["postgres-server"].startswith("exited")
    part1.run("up", "--detach", "--wait")
    with connect(part1) as connection:
        wait_for_rows(connection, before + 100)
        assert_exactly_once(connection)

    # A crash from within, and nobody types `up`: the restart policy is enough.
    part1.run("exec", "-T", "postgres-server", "sh", "-c", "kill -INT 1")
    with _connect_again(part1) as connection:
        before = assert_exactly_once(connection)
        wait_for_rows(connection, before + 100)

    part1.run("kill", "data-generator")
    part1.run("up", "--detach", "--wait")
    with connect(part1) as connection:
        wait_for_rows(connection, assert_exactly_once(connection) + 100)

    part1.run("stop", "data-generator")
    logged = part1.run("logs", "--no-log-prefix", "data-generator").strip().splitlines()[-1]
    with connect(part1) as connection:
        before = assert_exactly_once(connection)
    assert f"to {before})" in logged, "SIGTERM must reach Python: flush, report, end"

    part1.run("down")
    part1.up()
    with connect(part1) as connection:
        wait_for_rows(connection, before + 100)
        assert_exactly_once(connection)


@pytest.mark.slow
def test_user_password_and_port_come_from_the_environment(
    compose: MakeCompose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_USER", "somebody")
    monkeypatch.setenv("POSTGRES_PASSWORD", "a-password-of-my-own")
    part1 = compose("part1")
    part1.up()
    with connect(part1, "somebody", "a-password-of-my-own") as connection:
        wait_for_rows(connection, 3)
        assert_exactly_once(connection)
    user = part1.run("exec", "-T", "data-generator", "id", "-u").strip()
    assert user != "0"
    listed = part1.run("exec", "-T", "data-generator", "sh", "-c", "ls /app /app/part1")
    assert "data_generator.py" in listed
    assert "compose.yaml" not in listed


def _connect_again(project: Compose) -> psycopg.Connection:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return connect(project)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the restart policy did not bring it back"
            time.sleep(0.2)
