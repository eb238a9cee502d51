"""`crud_sql` without its database: it waits, says what is wrong in one line, and recovers."""

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from part5.settings import BadSettingError, Settings, load_settings
from part5.startup import StartError
from part5.user_store import UserStore
from tests.conftest import ROOT, Database, StartProxy, clean_environment, run_as_module
from tests.faults import Proxy
from tests.part5.conftest import OpenApi, on_psycopg
from tests.waiting import PATIENCE, wait_for

ADA = {"name": "ada", "nickname": "countess"}


def through(proxy: Proxy, database: Database) -> str:
    """The address of a database by way of a proxy that can be cut."""
    return on_psycopg(database).replace(f":{database.server.port}/", f":{proxy.port}/")


def assert_is_away(client: TestClient) -> None:
    for answer in (
        client.get("/health"),
        client.get("/users"),
        client.post("/users", json=ADA | {"name": "bob"}),
    ):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "2"
        assert "the database does not answer" in answer.json()["detail"]


def test_while_the_database_is_away_it_says_so_and_then_goes_on_by_itself(
    open_sql: OpenApi, database: Database, proxy: StartProxy, caplog: pytest.LogCaptureFixture
) -> None:
    line = proxy(database.server.port)
    client = open_sql(through(line, database))
    assert client.post("/users", json=ADA).status_code == 201

    line.cut()
    assert_is_away(client)
    assert [message.split(": ")[0] for message in caplog.messages if "/users" in message] == [
        "GET /users",
        "POST /users",
    ]
    line.start()

    assert client.get("/health").status_code == 200
    assert [user["name"] for user in client.get("/users").json()["users"]] == ["ada"]


def test_connections_that_the_server_has_ended_are_replaced_unseen(
    open_sql: OpenApi, database: Database
) -> None:
    client = open_sql(on_psycopg(database))
    client.post("/users", json=ADA)
    with database.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            " AND pid <> pg_backend_pid()",
            [database.name],
        )

    assert client.get("/users/1").json()["name"] == "ada"


def test_a_start_waits_for_a_database_that_comes_late(
    open_sql: OpenApi, database: Database, proxy: StartProxy, caplog: pytest.LogCaptureFixture
) -> None:
    line = proxy(database.server.port)
    line.cut()
    threading.Timer(0.5, line.start).start()

    with caplog.at_level("INFO", logger="uvicorn.error"):
        client = open_sql(through(line, database))

    assert client.get("/health").status_code == 200
    assert f"waiting for PostgreSQL at 127.0.0.1:{line.port} ..." in caplog.messages


def failing_start(app: str = "crud_sql", **variables: str) -> tuple[int, str]:
    """Exit status and output of a server that cannot start."""
    done = run_as_module("uvicorn", (f"part5.{app}:app", "--port=1"), variables, fresh=True)
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert "geheim" not in printed
    return done.returncode, printed


def test_a_start_without_a_database_ends_with_the_command_that_starts_one() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql+psycopg://myuser:geheim@127.0.0.1:{port}/mydatabase"

    status, printed = failing_start(USERS_DATABASE_URL=url, DB_WAIT_SECONDS="0.3")

    assert status == 3  # uvicorn's own for a start that failed
    assert [line for line in printed.splitlines() if "no PostgreSQL" in line] == [
        f"ERROR:    no PostgreSQL at 127.0.0.1:{port} after 0.3 s; start it with `uv run course up "
        "part5`, or with `docker compose up -d --wait postgres-server` in part5/"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_waits_for_a_database_can_be_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    log = tmp_path / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "part5.crud_sql:app", "--port=1"],
            cwd=ROOT,
            env=clean_environment()
            | {"USERS_DATABASE_URL": f"postgresql://u:geheim@127.0.0.1:{port}/d"}
            | {"DB_WAIT_SECONDS": str(2 * PATIENCE)},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: "waiting for PostgreSQL" in log.read_text(), log.read_text)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 3
    finally:
        process.kill()
        process.wait()

    printed = log.read_text()
    assert f"interrupted while PostgreSQL at 127.0.0.1:{port} did not answer" in printed
    assert "Traceback" not in printed
    assert "geheim" not in printed


def test_a_setting_that_cannot_be_used_ends_in_one_line() -> None:
    status, printed = failing_start(USERS_DATABASE_URL="mysql://root:geheim@localhost/x")

    assert status == 2
    assert len(printed.splitlines()) == 1
    assert printed.startswith("error: USERS_DATABASE_URL begins with 'mysql': set it to sqlite:///")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("USERS_DATABASE_URL", "nonsense geheim", "USERS_DATABASE_URL is no address"),
        ("USERS_DATABASE_URL", "postgresql+psycopg://u:geheim@h:x/d", "is no address"),
        ("USERS_DATABASE_URL", "postgresql+psycopg://u:geheim@h:99999/d", "has the port 99999"),
        ("USERS_DATABASE_URL", "postgresql+psycopg2://u:geheim@h/d", "begins with 'postgresql+ps"),
        ("USERS_DATABASE_URL", "sqlite://", "USERS_DATABASE_URL names no file"),
        ("USERS_DATABASE_URL", "sqlite:///:memory:", "USERS_DATABASE_URL names no file"),
        ("MAX_BODY_BYTES", "abc", "MAX_BODY_BYTES is 'abc': input should be a valid integer"),
        ("MAX_BODY_BYTES", "0", "MAX_BODY_BYTES is '0': input should be greater than"),
        ("DB_WAIT_SECONDS", "-1", "DB_WAIT_SECONDS is '-1': input should be greater than 0"),
    ],
)
def test_a_bad_setting_is_named_with_its_remedy_and_without_a_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSettingError) as failure:
        load_settings()

    assert message in str(failure.value)
    assert "geheim" not in str(failure.value)


def test_settings_that_are_printed_hold_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERS_DATABASE_URL", "postgresql+psycopg://u:geheim@h/d")

    assert "geheim" not in repr(Settings())


def test_a_refused_login_is_not_waited_for(database: Database) -> None:
    url = on_psycopg(database)

    with pytest.raises(StartError, match="refuses: password authentication failed for user"):
        UserStore(url.replace(":mypassword@", ":geheim@"), wait_seconds=60)
    with pytest.raises(StartError, match=r'refuses: database ".*_x" does not exist; correct USERS'):
        UserStore(url + "_x", wait_seconds=60)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "users.db"
    file.write_text("this is no database, and it is longer than a page's header " * 20)

    with pytest.raises(
        StartError, match=r"users\.db: file is not a database; correct USERS_DATABA"
    ):
        UserStore(f"sqlite:///{file}")
    with pytest.raises(StartError, match=r"users\.db/users\.db: .*; correct USERS_"):
        UserStore(f"sqlite:///{file}/users.db")


def test_a_table_users_of_somebody_else_is_left_alone(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE users (id bigint, email text)")

    with pytest.raises(StartError, match="it has no name, nickname, version, UNIQUE"):
        UserStore(on_psycopg(database))


def test_a_table_users_that_takes_a_name_twice_is_refused_until_it_does_not(
    database: Database, tmp_path: Path
) -> None:
    columns = "id bigint PRIMARY KEY, name text, nickname text, version bigint"
    url = f"sqlite:///{tmp_path / 'users.db'}"
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "users.db")) as file,
        database.connect() as server,
    ):
        for connection in (file, server):
            connection.execute(f"CREATE TABLE users ({columns})")
        for each in (on_psycopg(database), url):
            with pytest.raises(StartError, match=r"not ours: it has no UNIQUE \(name\); rename"):
                UserStore(each)
        for connection in (file, server):
            connection.execute("CREATE UNIQUE INDEX mine ON users (name)")
    for each in (on_psycopg(database), url):
        UserStore(each).close()
