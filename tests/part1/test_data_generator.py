"""The generator as a learner runs it: count, rate, batches, flushes, bulk, seed."""

import re
import signal
from pathlib import Path

import psycopg

from tests.conftest import Database, RunModule
from tests.part1.generator import (
    RunningGenerator,
    assert_exactly_once,
    count_rows,
    expected_measurements,
    measurements,
)
from tests.waiting import PATIENCE

GENERATOR = "part1.data_generator"


def transactions(connection: psycopg.Connection) -> list[int]:
    """How many rows each transaction wrote, in order."""
    query = "SELECT count(*) FROM iris_data GROUP BY xmin ORDER BY min(id)"
    return [row[0] for row in connection.execute(query)]


def seconds_taken(log: str) -> float:
    found = re.search(r"wrote .* in ([\d.]+) s", log)
    assert found is not None, log
    return float(found[1])


def test_rows_come_at_the_rate_asked_for(iris_table: Database, run_module: RunModule) -> None:
    done = run_module(GENERATOR, "--rate", "100", "--count", "200", env=iris_table.environ)
    assert done.returncode == 0
    assert done.stdout == ""
    with iris_table.connect() as connection:
        assert assert_exactly_once(connection) == 200
        steps = connection.execute(
            "SELECT DISTINCT timestamp - lag(timestamp) OVER (ORDER BY id) FROM iris_data"
        ).fetchall()
    # Row k is stamped k / rate seconds after the start, and takes that long to come.
    assert sorted(step.total_seconds() for (step,) in steps if step) == [0.01]
    assert 1.9 < seconds_taken(done.stderr) < 6


def test_one_row_per_second_is_the_default(iris_table: Database, run_module: RunModule) -> None:
    done = run_module(GENERATOR, "--count", "3", env=iris_table.environ, check=True)
    assert 1.9 < seconds_taken(done.stderr) < 6
    assert re.search(r"wrote 3 rows \(id 1 to 3\) in [\d.]+ s: [\d.]+ rows/s", done.stderr)


def test_a_full_batch_is_written_before_the_interval_is_over(
    iris_table: Database, tmp_path: Path
) -> None:
    options = ("--rate", "100", "--batch-size", "25", "--flush-interval", "3600")
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *options) as generator,
    ):
        generator.wait_for_rows(connection, 100)
        sizes = transactions(connection)
    assert len(sizes) > 1
    assert min(sizes) >= 25


def test_the_interval_flushes_a_batch_that_is_not_full(
    iris_table: Database, tmp_path: Path
) -> None:
    options = ("--rate", "100", "--batch-size", "100000", "--flush-interval", "0.2")
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *options) as generator,
    ):
        generator.wait_for_rows(connection, 60)
        sizes = transactions(connection)
    assert len(sizes) > 1
    assert min(sizes) >= 15  # 0.2 s at 100 rows/s, with a little room


def test_bulk_writes_whole_transactions(iris_table: Database, run_module: RunModule) -> None:
    run_module(GENERATOR, "--count", "150000", "--bulk", env=iris_table.environ, check=True)
    with iris_table.connect() as connection:
        assert assert_exactly_once(connection) == 150_000
        assert len(transactions(connection)) == 2
        distinct = connection.execute("SELECT count(DISTINCT timestamp) FROM iris_data").fetchone()
    assert distinct == (150_000,)


def test_the_same_seed_gives_the_same_rows_however_they_are_written(
    iris_table: Database, run_module: RunModule
) -> None:
    ways = (("--bulk",), ("--rate", "5000", "--batch-size", "37"))
    with iris_table.connect() as connection:
        for way in ways:
            connection.execute("TRUNCATE iris_data")
            options = ("--count", "500", "--seed", "7", *way)
            run_module(GENERATOR, *options, env=iris_table.environ, check=True)
            assert measurements(connection) == expected_measurements(1, 500, seed=7)
    assert expected_measurements(1, 500, seed=7) != expected_measurements(1, 500, seed=8)


def test_sigterm_ends_a_bulk_load_between_transactions(
    iris_table: Database, tmp_path: Path
) -> None:
    options = ("--count", "100000000", "--bulk")
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *options) as generator,
    ):
        generator.wait_for_rows(connection, 1)
        assert generator.terminate() == 0
        total = count_rows(connection)
        assert total == connection.execute("SELECT max(id) FROM iris_data").fetchone()[0]  # type: ignore[index]
    assert f"wrote {total:,} rows" in generator.log


def test_where_the_database_is_can_be_said_on_the_command_line(
    iris_table: Database, run_module: RunModule
) -> None:
    options = [
        *("--db-host", "127.0.0.1", "--db-port", str(iris_table.server.port)),
        *("--db-user", "myuser", "--db-name", iris_table.name, "--count", "5", "--bulk"),
    ]
    elsewhere = {"POSTGRES_HOST": "nowhere.invalid", "POSTGRES_PORT": "1", "POSTGRES_DB": "no"}
    run_module(GENERATOR, *options, env=elsewhere, check=True)
    with iris_table.connect() as connection:
        assert count_rows(connection) == 5


def test_a_table_that_is_dropped_mid_stream_ends_it_with_one_line(
    iris_table: Database, tmp_path: Path
) -> None:
    options = ("--rate", "100", "--batch-size", "10")
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *options) as generator,
    ):
        generator.wait_for_rows(connection, 20)
        connection.execute("DROP TABLE iris_data")
        assert generator.process.wait(timeout=PATIENCE) == 1
        assert "error: PostgreSQL refused the rows" in generator.log
        assert "Traceback" not in generator.log


def test_ctrl_c_while_it_waits_for_the_server_ends_it_at_once(tmp_path: Path) -> None:
    nowhere = {"POSTGRES_PORT": "1", "DB_WAIT_SECONDS": "600"}
    with RunningGenerator(nowhere, tmp_path / "log") as generator:
        generator.wait_for_log("waiting for PostgreSQL")
        generator.process.send_signal(signal.SIGINT)
        assert generator.process.wait(timeout=PATIENCE) == 130
        assert generator.log.endswith("interrupted\n")
        assert "Traceback" not in generator.log
