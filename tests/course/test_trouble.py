"""What the `course` command does when something is wrong: crashes, bad names, other versions."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from course.services import SERVICES
from tests.conftest import ROOT, clean_environment
from tests.course.conftest import Course, posix_only
from tests.waiting import PATIENCE


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


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PG_VERSION", "16\n", "was made by PostgreSQL 16, this is 18"),
        ("letter.txt", "mine", "holds files, but no PostgreSQL cluster"),
    ],
)
def test_a_data_folder_that_is_not_ours_is_refused_and_kept(
    course: Course, name: str, text: str, said: str
) -> None:
    data = course.home.data("postgres-server")
    data.mkdir(parents=True)
    (data / name).write_text(text)
    done = course.run("up", "part1")
    assert done.returncode == 1
    assert said in done.stderr
    assert "course down --wipe" in done.stderr
    assert (data / name).read_text() == text
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
    traced = course.run("up", "part99", "--debug")
    assert "Traceback" in traced.stderr
    assert traced.returncode == 2


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


@pytest.mark.skipif(os.name == "nt", reason="folders have no write permission on Windows")
def test_a_wipe_that_could_not_remove_everything_says_so(course: Course) -> None:
    held = course.home.path / "data" / "held"
    held.mkdir(parents=True)
    (held / "letter.txt").write_text("mine")
    with unremovable(held):
        done = course.run("down", "--wipe")
    assert done.returncode == 1
    assert f"{held}" in done.stderr
    assert "could not be removed" in done.stderr
    assert "data and logs removed" not in done.stdout


@contextmanager
def unremovable(folder: Path) -> Iterator[None]:
    """Root may remove everything but the place where a file system is mounted."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


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


def test_after_kill_9_up_starts_again_only_what_is_gone_and_down_stops_the_rest(
    course: Course,
) -> None:
    course.ok("up")
    mlflow = course.pid("mlflow-server")
    course.kill("postgres-server")
    assert course.ok("up").count("runs already") == len(SERVICES) - 1
    assert course.pid("mlflow-server") == mlflow

    course.kill("mlflow-server")
    assert course.ok("up").count("runs already") == len(SERVICES) - 1
    assert course.pid("mlflow-server") != mlflow

    course.kill("mlflow-server")
    course.ok("down")
    assert course.nothing_is_left()


@posix_only
@pytest.mark.parametrize(
    ("signal_name", "moment"),
    [
        ("SIGINT", "first process"),
        ("SIGKILL", "first process"),
        ("SIGTERM", "postgres answers"),
        ("SIGHUP", "postgres answers"),
    ],
)
def test_an_interrupted_up_leaves_nothing_or_down_removes_it(
    course: Course, signal_name: str, moment: str
) -> None:
    moments: dict[str, Callable[[str], bool]] = {
        "first process": lambda _: course.has_spawned("mlflow-server"),
        "postgres answers": lambda printed: "✓ postgres-server" in printed,
    }
    with course.start("up") as starting:
        course.interrupt(starting, signal_name, once=moments[moment])
    if signal_name == "SIGKILL":
        course.ok("down")
        assert course.nothing_is_left()
        course.ok("up", "part1")
    else:
        assert starting.returncode == 130
        assert course.nothing_is_left()


@posix_only
@pytest.mark.parametrize("after", [0.1, 0.3, 0.6])
def test_an_up_that_is_interrupted_while_python_still_starts_leaves_nothing(
    course: Course, after: float
) -> None:
    """By the clock, because nothing is there yet to wait for: any ending is right but a server."""
    with course.start("up") as starting:
        time.sleep(after)
        starting.send_signal(signal.SIGINT)
        starting.communicate(timeout=PATIENCE)
    assert starting.returncode != 0
    assert course.nothing_is_left()


@posix_only
def test_an_up_that_waits_for_another_gives_up_at_once(course: Course) -> None:
    from filelock import FileLock

    course.home.path.mkdir(parents=True)
    with FileLock(course.home.lock_file), course.start("demo") as waiting:
        assert waiting.stderr is not None
        assert "another `course` command" in waiting.stderr.readline()
        begun = time.monotonic()
        waiting.send_signal(signal.SIGTERM)
        waiting.communicate(timeout=PATIENCE)
        assert time.monotonic() - begun < 5
    assert waiting.returncode == 130


@posix_only
def test_a_signal_that_is_ignored_on_purpose_stays_ignored(course: Course) -> None:
    """`nohup course up` outlives its terminal."""
    command = "trap '' HUP; exec \"$0\" -m course up part1"
    with subprocess.Popen(
        ["sh", "-c", command, sys.executable],
        cwd=ROOT,
        env=clean_environment() | course.variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as starting:
        course.interrupt(starting, "SIGHUP", lambda _: course.has_spawned("postgres-server"))
    assert starting.returncode == 0
    assert course.pid("postgres-server")


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
