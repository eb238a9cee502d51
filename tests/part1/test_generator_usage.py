"""Bad usage and missing things: one line, the remedy, the right exit status."""

import subprocess

import pytest
from psycopg.errors import CheckViolation

from tests.conftest import Database, RunModule
from tests.part1.generator import count_rows

GENERATOR = "part1.data_generator"


def assert_one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


@pytest.mark.parametrize("value", ["0", "-1"])
@pytest.mark.parametrize("option", ["--rate", "--count", "--batch-size", "--flush-interval"])
def test_a_number_that_is_not_positive_is_named(
    run_module: RunModule, option: str, value: str
) -> None:
    assert_one_line(run_module(GENERATOR, option, value), 2, option, value, "greater than")


def test_a_number_that_is_none_is_named(run_module: RunModule) -> None:
    assert_one_line(run_module(GENERATOR, "--count", "many"), 2, "--count", "'many'")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_rate_must_be_a_real_number(run_module: RunModule, value: str) -> None:
    assert_one_line(run_module(GENERATOR, "--rate", value), 2, "--rate", value)


def test_bulk_needs_a_count(run_module: RunModule) -> None:
    assert_one_line(run_module(GENERATOR, "--bulk"), 2, "add --count")


def test_bulk_and_rate_exclude_each_other(run_module: RunModule) -> None:
    done = run_module(GENERATOR, "--bulk", "--count", "5", "--rate", "5")
    assert_one_line(done, 2, "--bulk", "--rate")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("POSTGRES_PORT", "no"), ("POSTGRES_PORT", "0"), ("DB_WAIT_SECONDS", "-1")],
)
def test_a_setting_that_cannot_be_used_is_named(
    run_module: RunModule, variable: str, value: str
) -> None:
    assert_one_line(run_module(GENERATOR, env={variable: value}), 2, variable, value)


def test_an_unknown_option_is_named(run_module: RunModule) -> None:
    assert_one_line(run_module(GENERATOR, "--speed", "5"), 2, "--speed")


def test_a_missing_table_is_created(database: Database, run_module: RunModule) -> None:
    done = run_module(GENERATOR, "--count", "5", "--bulk", env=database.environ, check=True)
    assert "table iris_data created" in done.stderr
    with database.connect() as connection:
        assert count_rows(connection) == 5
        with pytest.raises(CheckViolation):
            connection.execute("UPDATE iris_data SET target = 9")


def test_a_table_with_other_columns_is_not_written_to(
    database: Database, run_module: RunModule
) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id bigint PRIMARY KEY, target integer)")
        done = run_module(GENERATOR, "--count", "5", env=database.environ)
        assert_one_line(done, 1, "sepal_length is missing", "part1.table_creator")
        assert count_rows(connection) == 0


@pytest.mark.parametrize("script", [GENERATOR, "part1.table_creator", "part1.data_quality"])
def test_a_server_that_is_not_up_names_the_command_that_starts_it(
    run_module: RunModule, script: str
) -> None:
    # Port 1 is reserved; nothing listens there.
    done = run_module(script, env={"POSTGRES_PORT": "1", "DB_WAIT_SECONDS": "0.5"})
    assert "waiting for PostgreSQL at localhost:1" in done.stderr
    assert_one_line(done, 1, "no PostgreSQL at localhost:1", "uv run course up part1")


def test_a_wrong_password_is_said_at_once_and_never_shown(
    iris_table: Database, run_module: RunModule
) -> None:
    env = iris_table.environ | {"POSTGRES_PASSWORD": "s3cr3t-but-wrong", "DB_WAIT_SECONDS": "60"}
    done = run_module(GENERATOR, "--count", "5", env=env)
    assert_one_line(done, 1, "wrong password", "POSTGRES_PASSWORD")
    assert "s3cr3t" not in done.stderr


def test_an_unknown_database_is_named(iris_table: Database, run_module: RunModule) -> None:
    done = run_module(GENERATOR, env=iris_table.environ | {"POSTGRES_DB": "no_such_thing"})
    assert_one_line(done, 1, "no_such_thing", "POSTGRES_DB")


def test_only_debug_shows_a_traceback(database: Database, run_module: RunModule) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id bigint PRIMARY KEY, target integer)")
    done = run_module(GENERATOR, "--count", "5", "--debug", env=database.environ)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "sepal_length is missing" in done.stderr
