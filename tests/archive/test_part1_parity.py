import time
from pathlib import Path

import pandas as pd
import psycopg2
import pytest
from sklearn.datasets import load_iris

from part1.schema import FEATURES
from tests.archive.conftest import Archived, copy_archive
from tests.conftest import Database, RunModule
from tests.waiting import wait_for

type Row = tuple[float, float, float, float, int]

COLUMNS = (*FEATURES, "target")


def rows_in(database: Database) -> list[Row]:
    with database.connect() as connection:
        query = f"SELECT {', '.join(COLUMNS)} FROM iris_data ORDER BY id"
        return connection.execute(query).fetchall()


def columns_in(database: Database) -> list[str]:
    with database.connect() as connection:
        described = connection.execute("SELECT * FROM iris_data").description
    assert described is not None
    return [column.name for column in described]


def iris_rows() -> set[Row]:
    features, target = load_iris(return_X_y=True)
    return {(*x, int(y)) for x, y in zip(features.tolist(), target.tolist(), strict=True)}


@pytest.fixture
def old(tmp_path: Path, old_database: Database) -> Archived:
    """The archived part 1 on a database of its own."""
    return copy_archive("part1", tmp_path, old_database)


@pytest.fixture
def old_table(old: Archived, old_connection: "psycopg2.extensions.connection") -> None:
    old.load("table_creator.py").create_table(old_connection)


def test_the_same_rows_give_the_same_table_contents(
    old: Archived,
    run_module: RunModule,
    database: Database,
    old_database: Database,
    old_connection: "psycopg2.extensions.connection",
) -> None:
    run_module("part1.table_creator", env=database.environ, check=True)
    run_module("part1.data_generator", "--count", "200", "--bulk", env=database.environ, check=True)
    new_rows = rows_in(database)

    old.run("table_creator.py")
    generator = old.load("data_generator.py")
    for row in new_rows:
        # The archive hands over one row of one type: the label travels as a float.
        generator.insert_data(old_connection, pd.Series(row, index=COLUMNS, dtype="float64"))

    assert len(new_rows) == 200
    assert rows_in(old_database) == new_rows
    assert columns_in(old_database) == columns_in(database) == ["id", "timestamp", *COLUMNS]


@pytest.mark.usefixtures("old_table")
def test_data_insertion_inserts_one_measurement_of_iris(
    old: Archived, old_database: Database
) -> None:
    old.run("data_insertion.py")

    assert len(rows_in(old_database)) == 1
    assert set(rows_in(old_database)) <= iris_rows()


@pytest.mark.usefixtures("old_table")
@pytest.mark.parametrize("script", ["data_insertion_loop.py", "data_generator.py"])
def test_the_loop_goes_on_by_itself(old: Archived, old_database: Database, script: str) -> None:
    loop = old.start(script)
    try:
        wait_for(lambda: len(rows_in(old_database)) >= 2 or loop.poll() is not None)
        assert loop.poll() is None, "the loop ended by itself"
    finally:
        loop.kill()
        loop.wait()

    assert len(rows_in(old_database)) >= 2
    assert set(rows_in(old_database)) <= iris_rows()


@pytest.mark.usefixtures("old_table")
def test_what_the_lists_say_of_the_sql_is_true(
    old: Archived, old_database: Database, old_connection: "psycopg2.extensions.connection"
) -> None:
    generator = old.load("data_generator.py")
    row = dict(zip(COLUMNS, (5.1, 3.5, 1.4, 0.2, 0), strict=True))

    generator.insert_data(old_connection, pd.Series(row | {"sepal_length": -1.0, "target": 7}))
    assert rows_in(old_database) == [(-1.0, 3.5, 1.4, 0.2, 7)]

    with pytest.raises(psycopg2.errors.UndefinedColumn, match="nan"):
        generator.insert_data(old_connection, pd.Series(row | {"sepal_length": float("nan")}))
    old_connection.rollback()

    hostile = pd.Series(row | {"target": "0); DROP TABLE iris_data; SELECT (1"}, dtype="object")
    generator.insert_data(old_connection, hostile)
    with old_database.connect() as connection:
        left = connection.execute("SELECT to_regclass('iris_data')").fetchone()
    assert left == (None,)


def test_what_the_lists_say_of_the_new_table_is_true(
    run_module: RunModule, database: Database
) -> None:
    run_module("part1.table_creator", env=database.environ, check=True)

    with database.connect() as connection:
        insert = f"INSERT INTO iris_data ({', '.join(COLUMNS)}) VALUES (%s, %s, %s, %s, %s)"
        for poisoned in ((-1, 3.5, 1.4, 0.2, 0), (5.1, 3.5, 1.4, 0.2, 7), (None, 3.5, 1.4, 0.2, 0)):
            with pytest.raises(Exception, match=r"violates (check|not-null) constraint"):
                connection.execute(insert, poisoned)
