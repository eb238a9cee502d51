"""What the `course` command does when something is wrong: crashes, bad names, other versions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.course.conftest import Course


@pytest.mark.parametrize("command", ["up", "logs"])
def test_an_unknown_name_is_bad_usage_and_lists_the_known_ones(
    course: Course, command: str
) -> None:
    done = course.run(command, "part99")
    assert done.returncode == 2
    assert "'part99'" in done.stderr
    assert "postgres-server" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_option_is_one_line(course: Course) -> None:
    done = course.run("up", "--nonsense")
    assert done.returncode == 2
    assert done.stderr == "error: No such option: --nonsense\n"


def test_a_port_that_is_no_port_is_named(course: Course) -> None:
    course.variables["POSTGRES_PORT"] = "70000"
    done = course.run("up")
    assert done.returncode == 2
    assert "POSTGRES_PORT is '70000'" in done.stderr
    course.variables["POSTGRES_PORT"] = "20001"


def test_a_data_folder_of_another_version_is_refused_and_kept(course: Course) -> None:
    data = course.home.data("postgres-server")
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    done = course.run("up", "part1")
    assert done.returncode == 1
    assert "was made by PostgreSQL 16, this is 18" in done.stderr
    assert "course down --wipe" in done.stderr
    assert (data / "PG_VERSION").read_text() == "16\n"
    assert course.nothing_is_left()


def test_another_password_than_the_data_folders_is_explained(course: Course) -> None:
    course.ok("up", "part1")
    course.ok("down")
    course.variables["POSTGRES_PASSWORD"] = "different"
    done = course.run("up", "part1")
    assert done.returncode == 1
    assert "was made for another user or password" in done.stderr
    assert "different" not in done.stderr
    assert course.nothing_is_left()


def test_a_server_that_ends_at_its_start_is_explained_with_its_log(course: Course) -> None:
    course.ok("up", "part1")
    course.ok("down")
    conf = course.home.data("postgres-server") / "postgresql.conf"
    conf.write_text(conf.read_text() + "\nno_such_setting = 1\n")
    done = course.run("up", "part1")
    assert done.returncode == 1
    assert "postgres-server ended at its start" in done.stderr
    assert "postgres-server.log" in done.stderr


def test_without_debug_a_failure_is_one_line_and_with_it_a_traceback(course: Course) -> None:
    assert "Traceback" not in course.run("up", "part99").stderr
    assert "Traceback" in course.run("up", "part99", "--debug").stderr


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="a small file system takes root on Linux"
)
def test_a_full_disk_is_said_before_anything_starts(course: Course) -> None:
    course.home.path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(course.home.path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount a small file system")
    try:
        done = course.run("up", "part1")
        assert done.returncode == 1
        assert "only 20 MB are free" in done.stderr
    finally:
        subprocess.run(["umount", str(course.home.path)], check=True)


def test_after_kill_9_of_postgres_down_leaves_nothing_and_up_has_all_rows(course: Course) -> None:
    course.ok("up", "part1")
    with course.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 5000) AS n")
    course.kill("postgres-server")
    course.ok("down")
    assert course.nothing_is_left()
    course.ok("up", "part1")
    with course.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (5000,)


def test_after_kill_9_of_postgres_up_recovers_without_down(course: Course) -> None:
    course.ok("up", "part1")
    with course.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    course.kill("postgres-server")
    assert "✓ postgres-server" in course.ok("up", "part1")
    with course.connect() as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_a_stale_pid_file_of_a_living_process_does_not_stop_the_start(course: Course) -> None:
    course.ok("up", "part1")
    course.kill("postgres-server")
    course.nothing_is_left(within=10)
    pid_file = course.home.data("postgres-server") / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert "✓ postgres-server" in course.ok("up", "part1")


def test_after_kill_9_of_mlflow_up_starts_it_again(course: Course) -> None:
    course.ok("up")
    first = course.pid("mlflow-server")
    course.kill("mlflow-server")
    printed = course.ok("up")
    assert printed.count("runs already") == 2
    assert course.pid("mlflow-server") != first
    course.kill("mlflow-server")
    course.ok("down")
    assert course.nothing_is_left()


def test_mlflow_goes_on_when_its_database_is_killed_and_started_again(course: Course) -> None:
    course.ok("up")
    mlflow = course.pid("mlflow-server")
    course.kill("postgres-server")
    assert course.ok("up").count("runs already") == 2
    assert course.pid("mlflow-server") == mlflow


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGINT, 0.2),  # Python itself may still be starting
        (signal.SIGINT, 0.8),
        (signal.SIGTERM, 3.0),
        (signal.SIGKILL, 0.5),
        (signal.SIGKILL, 0.9),
        (signal.SIGKILL, 3.0),
    ],
)
def test_an_interrupted_up_leaves_nothing_or_down_removes_it(
    course: Course, number: signal.Signals, after: float
) -> None:
    with course.start("up") as starting:
        time.sleep(after)
        starting.send_signal(number)
        starting.communicate(timeout=60)
    if number == signal.SIGKILL:
        course.ok("down")
    elif after > 0.5:
        assert starting.returncode == 130
    assert course.nothing_is_left()
    assert course.run("up", "part1").returncode == 0


@pytest.fixture
def half_made(course: Course) -> Path:
    """What a killed initdb leaves."""
    folder = course.home.path / "data" / "postgres-server.new-killed"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("18\n")
    return folder


def test_a_half_made_data_folder_is_removed_and_made_again(course: Course, half_made: Path) -> None:
    course.ok("up", "part1")
    assert not half_made.exists()
