"""Whatever happens to the server, the connection or the generator: no gap and no duplicate."""

import os
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tests.conftest import Database, RunModule
from tests.faults import OwnPostgres, Relay
from tests.part1.generator import (
    RunningGenerator,
    assert_exactly_once,
    count_rows,
    expected_measurements,
    ids,
    measurements,
)
from tests.waiting import PATIENCE

FAST = ("--rate", "500", "--batch-size", "20")


def test_a_restarted_server_is_found_again(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    with RunningGenerator(own_postgres.environ, tmp_path / "log", *FAST) as generator:
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, 100)
        own_postgres.stop()
        generator.wait_for_log("lost the connection")
        own_postgres.start()
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, count_rows(connection) + 200)
            assert generator.terminate() == 0
            assert "connected again" in generator.log
            assert assert_exactly_once(connection) > 300


def test_a_killed_server_is_found_again(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    with RunningGenerator(own_postgres.environ, tmp_path / "log", *FAST) as generator:
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, 100)
        own_postgres.kill()
        generator.wait_for_log("lost the connection")
        own_postgres.start()
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, count_rows(connection) + 200)
            assert generator.terminate() == 0
            assert assert_exactly_once(connection) > 300


def test_sigterm_while_the_server_is_away_ends_the_generator_and_loses_nothing(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    with RunningGenerator(own_postgres.environ, tmp_path / "log", *FAST) as generator:
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, 100)
        own_postgres.stop()
        generator.wait_for_log("lost the connection")
        assert generator.terminate() == 0
        assert "stopped while PostgreSQL is away" in generator.log
        assert "rows/s" in generator.log
        assert "Traceback" not in generator.log
    own_postgres.start()
    with own_postgres.connect() as connection:
        assert assert_exactly_once(connection) >= 100


def test_a_server_that_stays_away_ends_the_generator_with_one_line(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    options = (*FAST, "--reconnect-seconds", "1")
    with RunningGenerator(own_postgres.environ, tmp_path / "log", *options) as generator:
        with own_postgres.connect() as connection:
            generator.wait_for_rows(connection, 20)
        own_postgres.stop()
        assert generator.process.wait(timeout=PATIENCE) == 1
        assert "error: could not go on within 1 s" in generator.log
        assert "start the generator again" in generator.log
        assert "Traceback" not in generator.log


@pytest.mark.parametrize(
    "cuts",
    [[True], [False], [False, True, False, True]],
    ids=["commit arrived", "commit was lost", "again and again"],
)
def test_a_connection_cut_at_commit_neither_loses_nor_repeats_rows(
    iris_table: Database, run_module: RunModule, cuts: list[bool]
) -> None:
    with Relay(iris_table.server.port, cuts) as relay:
        env = iris_table.environ | {"POSTGRES_PORT": str(relay.port)}
        stream = ("--rate", "1000", "--count", "300", "--batch-size", "50")
        done = run_module("part1.data_generator", *stream, env=env, check=True)
        assert relay.cuts == [], "every cut must have happened"
    assert "lost the connection" in done.stderr
    with iris_table.connect() as connection:
        assert assert_exactly_once(connection) == 300


def test_a_bulk_load_cut_at_commit_neither_loses_nor_repeats_rows(
    iris_table: Database, run_module: RunModule
) -> None:
    with Relay(iris_table.server.port, [True, False]) as relay:
        env = iris_table.environ | {"POSTGRES_PORT": str(relay.port)}
        run_module("part1.data_generator", "--count", "200000", "--bulk", env=env, check=True)
        assert relay.cuts == []
    with iris_table.connect() as connection:
        assert assert_exactly_once(connection) == 200_000


def test_a_killed_generator_goes_on_where_the_table_ends(
    iris_table: Database, run_module: RunModule, tmp_path: Path
) -> None:
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *FAST) as generator,
    ):
        generator.wait_for_rows(connection, 100)
        generator.kill()
        again = ("--rate", "5000", "--count", "200")
        done = run_module("part1.data_generator", *again, env=iris_table.environ, check=True)
        total = assert_exactly_once(connection)
    assert f"(id {total - 199} to {total})" in done.stderr


def test_a_generator_that_ended_goes_on_where_the_table_ends(
    iris_table: Database, run_module: RunModule
) -> None:
    for options in (("--count", "100", "--bulk"), ("--count", "50", "--rate", "5000")):
        run_module("part1.data_generator", *options, env=iris_table.environ, check=True)
    with iris_table.connect() as connection:
        assert assert_exactly_once(connection) == 150


def test_a_terminated_backend_is_replaced(iris_table: Database, tmp_path: Path) -> None:
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *FAST) as generator,
    ):
        generator.wait_for_rows(connection, 50)
        connection.execute(
            "SELECT pg_terminate_backend(%s)", (generator.wait_for_lock(connection),)
        )
        generator.wait_for_log("connected again")
        generator.wait_for_rows(connection, count_rows(connection) + 100)
        assert generator.terminate() == 0
        assert_exactly_once(connection)


def test_a_row_inserted_by_hand_takes_a_place_in_the_stream(
    iris_table: Database, tmp_path: Path
) -> None:
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *FAST) as generator,
    ):
        generator.wait_for_rows(connection, 100)
        place = _insert_by_hand(connection)
        generator.wait_for_rows(connection, place + 100)
        assert generator.terminate() == 0
        found, total = measurements(connection), count_rows(connection)
        assert ids(connection) == list(range(1, total + 1))
        expected = expected_measurements(1, total)
    assert found[place - 1] == (1.0, 1.0, 1.0, 1.0, 0)
    assert found[: place - 1] + found[place:] == expected[: place - 1] + expected[place:]


def _insert_by_hand(connection: psycopg.Connection) -> int:
    for _ in range(100):  # while the generator writes a batch, its ids are taken
        try:
            found = connection.execute(
                "INSERT INTO iris_data (sepal_length, sepal_width, petal_length, petal_width, "
                "target) VALUES (1, 1, 1, 1, 0) RETURNING id"
            ).fetchone()
        except errors.UniqueViolation:
            continue
        assert found is not None
        return int(found[0])
    raise AssertionError("no place for a row by hand")


def test_a_second_generator_is_refused_and_told_of_the_first(
    iris_table: Database, run_module: RunModule, tmp_path: Path
) -> None:
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *FAST) as generator,
    ):
        first = generator.wait_for_lock(connection)
        second = run_module("part1.data_generator", "--count", "5", env=iris_table.environ)
        assert second.returncode == 1
        assert "another generator" in second.stderr
        assert f"backend {first}" in second.stderr
        assert "stop it first" in second.stderr
        assert generator.terminate() == 0
        assert_exactly_once(connection)


def test_a_second_generator_with_another_seed_does_not_restart_the_numbering(
    iris_table: Database, run_module: RunModule
) -> None:
    for seed in ("1", "2"):
        options = ("--count", "100", "--bulk", "--seed", seed)
        run_module("part1.data_generator", *options, env=iris_table.environ, check=True)
    with iris_table.connect() as connection:
        assert ids(connection) == list(range(1, 201))
        found = measurements(connection)
    assert found == [*expected_measurements(1, 100, 1), *expected_measurements(101, 100, 2)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_what_is_due_and_reports(
    iris_table: Database, tmp_path: Path, number: signal.Signals
) -> None:
    slow_flush = ("--rate", "200", "--batch-size", "100000", "--flush-interval", "3600")
    with (
        iris_table.connect() as connection,
        RunningGenerator(iris_table.environ, tmp_path / "log", *slow_flush) as generator,
    ):
        generator.wait_for_lock(connection)
        with pytest.raises(AssertionError, match="no rows at once"):
            generator.wait_for(lambda: count_rows(connection) > 0, "rows at once", seconds=0.7)
        os.kill(generator.process.pid, number)
        assert generator.process.wait(timeout=PATIENCE) == 0
        total = assert_exactly_once(connection)
        assert total > 20
        assert f"wrote {total:,} rows (id 1 to {total})" in generator.log
