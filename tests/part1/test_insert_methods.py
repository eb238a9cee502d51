"""Six ways to insert: the same rows every time, a table, a picture, and nothing left behind."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from part1.insertion import METHODS, draw_rows, scratch
from part1.settings import Settings
from tests.conftest import ROOT, Database, RunModule, clean_environment
from tests.part1.generator import expected_measurements
from tests.waiting import PATIENCE, wait_for

LESSON = "part1.insert_methods"


def leftovers(database: Database) -> list[str]:
    with database.connect() as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'insert%'"
        return [row[0] for row in connection.execute(query)]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_the_rows_that_were_drawn(database: Database, method: str) -> None:
    settings = Settings(
        postgres_host="127.0.0.1", postgres_port=database.server.port, postgres_db=database.name
    )
    rows = draw_rows(1500, seed=3)
    with scratch(settings) as place, database.connect() as connection:
        seconds, (count, _) = place.measure(method, rows)
        found = connection.execute("SELECT * FROM insert_methods.iris_data ORDER BY id").fetchall()
    assert seconds > 0
    assert count == 1500
    assert found == rows.tuples
    assert [row[2:] for row in found] == expected_measurements(1, 1500, seed=3)
    assert leftovers(database) == []


def test_the_lesson_prints_a_table_and_saves_a_picture(
    iris_table: Database, run_module: RunModule, tmp_path: Path
) -> None:
    plot = tmp_path / "new" / "plot.png"
    options = ("--rows", "1000", "--plot", str(plot))
    done = run_module(LESSON, *options, env=iris_table.environ, check=True)
    speeds = dict(re.findall(r"│ (\S.*?) +│ +([\d,]+) │ +[\d,.]+ │", done.stdout))
    assert tuple(speeds) == METHODS
    assert float(speeds["binary COPY, NumPy"].replace(",", "")) > 10 * float(
        speeds["commit per row"].replace(",", "")
    )
    assert plot.read_bytes().startswith(b"\x89PNG\r\n")
    assert [file.name for file in plot.parent.iterdir()] == ["plot.png"]
    assert leftovers(iris_table) == []
    with iris_table.connect() as connection:
        assert connection.execute("SELECT count(*) FROM iris_data").fetchone() == (0,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(database: Database, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", LESSON, "--rows", "1000000"],
        cwd=ROOT,
        env=clean_environment() | database.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with database.connect() as connection:
            made = "SELECT to_regclass('insert_methods.iris_data') IS NOT NULL"
            wait_for(lambda: connection.execute(made).fetchone() == (True,))
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert leftovers(database) == []


def test_what_a_killed_run_left_is_removed(database: Database, run_module: RunModule) -> None:
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA insert_methods")
        connection.execute("CREATE TABLE insert_methods.iris_data (id bigint)")
    settings = Settings(
        postgres_host="127.0.0.1", postgres_port=database.server.port, postgres_db=database.name
    )
    with scratch(settings) as place:
        assert place.measure("COPY CSV", draw_rows(10, seed=1))[1][0] == 10
    assert leftovers(database) == []


def test_a_second_run_at_the_same_time_is_refused(
    database: Database, run_module: RunModule
) -> None:
    with database.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('insert_methods'))")
        done = run_module(LESSON, "--rows", "10", env=database.environ)
    assert done.returncode == 1
    assert "another insert_methods runs" in done.stderr


@pytest.mark.parametrize(
    ("options", "word"), [(("--rows", "0"), "--rows"), (("--plot", "plot.txt"), ".png")]
)
def test_bad_usage_is_named(run_module: RunModule, options: tuple[str, ...], word: str) -> None:
    done = run_module(LESSON, *options)
    assert done.returncode == 2
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_picture_that_cannot_be_written_is_one_line(
    database: Database, run_module: RunModule, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    options = ("--rows", "10", "--plot", str(tmp_path / "file" / "plot.png"))
    done = run_module(LESSON, *options, env=database.environ)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
