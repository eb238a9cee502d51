"""The health check of the generator's container."""

import pytest

from tests.conftest import Database, RunModule

INSERT = "INSERT INTO iris_data VALUES (DEFAULT, now() - interval '{} s', 5.1, 3.5, 1.4, 0.2, 0)"


@pytest.mark.parametrize(
    ("age", "status", "word"), [(5, 0, "s old"), (70, 1, "more than 60 s"), (None, 1, "empty")]
)
def test_it_says_whether_rows_arrive(
    iris_table: Database, run_module: RunModule, age: int | None, status: int, word: str
) -> None:
    if age is not None:
        with iris_table.connect() as connection:
            connection.execute(INSERT.format(age))
    done = run_module("part1.freshness", env=iris_table.environ)
    assert done.returncode == status
    assert word in done.stdout + done.stderr


def test_a_missing_table_names_the_remedy(database: Database, run_module: RunModule) -> None:
    done = run_module("part1.freshness", env=database.environ)
    assert done.returncode == 1
    assert "part1.table_creator" in done.stderr
    assert done.stderr.count("\n") == 1
