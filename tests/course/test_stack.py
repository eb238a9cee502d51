"""The embedded stack through the `course` command: start, reuse, look, stop."""

import socket
import urllib.request

import psycopg
import pytest

from course.services import SERVICES
from tests.course.conftest import HOLDER, Course, posix_only


def test_up_starts_every_server_and_down_leaves_no_process(course: Course) -> None:
    printed = course.ok("up")

    for service in SERVICES:
        assert f"✓ {service}" in printed
    with urllib.request.urlopen(f"http://localhost:{course.variables['MLFLOW_PORT']}/") as page:
        assert b"<title>MLflow</title>" in page.read()
    assert course.ok("status").count("running") == len(SERVICES)

    course.ok("down")
    assert course.nothing_is_left()
    assert course.ok("status").count("stopped") == len(SERVICES)


def test_up_a_second_time_reuses_what_runs(course: Course) -> None:
    course.ok("up", "part1")
    first = course.pid("postgres-server")

    assert "runs already" in course.ok("up", "part1")
    assert course.pid("postgres-server") == first


def test_a_part_starts_only_what_it_needs(course: Course) -> None:
    course.ok("up", "part1")
    status = course.ok("status")
    assert "postgres-server        running" in status
    assert status.count("stopped") == len(SERVICES) - 1


def test_two_ups_at_once_start_one_server(course: Course) -> None:
    with course.start("up", "part1") as one, course.start("up", "part1") as other:
        printed = one.communicate()[0] + other.communicate()[0]
    assert (one.returncode, other.returncode) == (0, 0)
    assert printed.count("runs already") == 1


def test_down_with_nothing_running_says_so(course: Course) -> None:
    assert "nothing was running" in course.ok("down")


def test_wipe_removes_the_data(course: Course) -> None:
    course.ok("up", "part1")
    assert course.home.data("postgres-server").is_dir()
    course.ok("down", "--wipe")
    assert not course.home.data("postgres-server").exists()


def test_rows_survive_down_and_up(course: Course) -> None:
    course.ok("up", "part1")
    with course.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    course.ok("down")
    course.ok("up", "part1")
    with course.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_taken_port_is_said_and_written_to_env(course: Course) -> None:
    port = int(course.variables["POSTGRES_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        # As a learner has it: the number is a default or stands in .env, not in the shell.
        del course.variables["POSTGRES_PORT"]
        course.home.env_file.write_text(f"# mine\nPOSTGRES_PORT={port}\n")
        printed = course.ok("up", "part1")

    assert f"port {port} is held by {HOLDER}" in printed
    text = course.home.env_file.read_text()
    assert text.startswith(f"# mine\nPOSTGRES_PORT={port}\n# >>> course")
    moved = int(text.rsplit("POSTGRES_PORT=", 1)[1].split()[0])
    assert moved != port
    with course.connect(moved) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    course.ok("down")
    assert course.home.env_file.read_text() == f"# mine\nPOSTGRES_PORT={port}\n"


def test_an_exported_variable_that_misleads_the_scripts_is_named(course: Course) -> None:
    port = int(course.variables["POSTGRES_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        printed = course.ok("up", "part1")
    assert f"POSTGRES_PORT={port} is exported in this shell" in printed


@posix_only
def test_logs_prints_the_end_of_a_log_and_follows_it(course: Course) -> None:
    course.ok("up", "part1")
    assert "ready to accept connections" in course.ok("logs", "postgres-server")

    def follows(printed: str) -> bool:
        with course.connect() as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        return 'relation "nowhere" does not exist' in printed

    with course.start("logs", "postgres-server", "-f", "-n", "0") as following:
        course.interrupt(following, "SIGINT", once=follows)
    assert following.returncode == 0


def test_another_users_postgres_is_not_taken_for_ours(
    course: Course, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Course(tmp_path_factory.mktemp("other"))
    other.ok("up", "part1")
    try:
        course.ok("up", "part1")
        course.ok("down")
        assert other.pid("postgres-server")
    finally:
        other.ok("down", "--wipe")


def test_pid_prints_the_process_id_of_a_server_that_runs(course: Course) -> None:
    course.ok("up", "part1")

    assert course.ok("pid", "postgres-server") == f"{course.pid('postgres-server')}\n"
    stopped = course.run("pid", "chat-server")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert (
        "chat-server does not run; start it with `uv run course up chat-server`" in stopped.stderr
    )
    unknown = course.run("pid", "chat")
    assert unknown.returncode == 2
    assert "did you mean chat-server?" in unknown.stderr
