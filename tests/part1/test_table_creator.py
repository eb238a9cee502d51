"""Creating iris_data: safe to repeat, careful with other people's tables, fast to query."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.conftest import Database, RunModule

CREATOR = "part1.table_creator"
ARCHIVE_TABLE = """
    CREATE TABLE iris_data (id SERIAL PRIMARY KEY, timestamp timestamp, sepal_length float8,
    sepal_width float8, petal_length float8, petal_width float8, target int)
"""
GOOD_ROW = "INSERT INTO iris_data VALUES (DEFAULT, now(), 5.1, 3.5, 1.4, 0.2, 0)"


def test_the_table_has_the_columns_of_the_course(database: Database, run_module: RunModule) -> None:
    run_module(CREATOR, env=database.environ, check=True)
    with database.connect() as connection:
        columns = connection.execute(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_name = 'iris_data' ORDER BY ordinal_position"
        ).fetchall()
    assert columns == [
        ("id", "bigint", "NO"),
        ("timestamp", "timestamp with time zone", "NO"),
        ("sepal_length", "double precision", "NO"),
        ("sepal_width", "double precision", "NO"),
        ("petal_length", "double precision", "NO"),
        ("petal_width", "double precision", "NO"),
        ("target", "integer", "NO"),
    ]


def test_creating_it_twice_keeps_the_rows(database: Database, run_module: RunModule) -> None:
    first = run_module(CREATOR, env=database.environ, check=True)
    with database.connect() as connection:
        connection.execute(GOOD_ROW)
        second = run_module(CREATOR, env=database.environ, check=True)
        assert connection.execute("SELECT count(*) FROM iris_data").fetchone() == (1,)
    assert "table iris_data created" in first.stderr
    assert "table iris_data is there already" in second.stderr


def test_two_creators_at_once_both_succeed(database: Database, run_module: RunModule) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run_module, CREATOR, env=database.environ) for _ in range(2)]
    assert [done.result().returncode for done in both] == [0, 0]
    assert sum("created" in done.result().stderr for done in both) == 1


def test_a_table_with_other_columns_is_refused_and_left_alone(
    database: Database, run_module: RunModule
) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id bigint PRIMARY KEY, target text, note text)")
        done = run_module(CREATOR, env=database.environ)
        assert connection.execute("SELECT * FROM iris_data").description is not None
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for fault in (
        "sepal_length is missing",
        "note is unknown",
        "target is TEXT instead of INTEGER",
    ):
        assert fault in done.stderr
    assert "rename it, or drop it" in done.stderr


def test_the_archives_table_is_refused(database: Database, run_module: RunModule) -> None:
    with database.connect() as connection:
        connection.execute(ARCHIVE_TABLE)
    done = run_module(CREATOR, env=database.environ)
    assert done.returncode == 1
    assert "timestamp is TIMESTAMP WITHOUT TIME ZONE instead of" in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        "DEFAULT, now(), NULL, 3.5, 1.4, 0.2, 0",
        "DEFAULT, now(), 0, 3.5, 1.4, 0.2, 0",
        "DEFAULT, now(), 5.1, -1, 1.4, 0.2, 0",
        "DEFAULT, now(), 5.1, 3.5, 30.5, 0.2, 0",
        "DEFAULT, now(), 5.1, 3.5, 'infinity', 0.2, 0",
        "DEFAULT, now(), 5.1, 3.5, 1.4, 'nan', 0",
        "DEFAULT, now(), 5.1, 3.5, 1.4, 0.2, 3",
        "DEFAULT, now(), 5.1, 3.5, 1.4, 0.2, NULL",
        "DEFAULT, NULL, 5.1, 3.5, 1.4, 0.2, 0",
        "NULL, now(), 5.1, 3.5, 1.4, 0.2, 0",
        "1, now(), 5.1, 3.5, 1.4, 0.2, 0",
    ],
)
def test_the_table_refuses_poison(iris_table: Database, values: str) -> None:
    with iris_table.connect() as connection:
        connection.execute(GOOD_ROW)
        with pytest.raises(psycopg.IntegrityError):
            connection.execute(f"INSERT INTO iris_data VALUES ({values})")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT max(timestamp) FROM iris_data", "iris_data_timestamp_idx"),
        (
            "SELECT * FROM iris_data WHERE timestamp > now() - interval '1 minute'",
            "iris_data_timestamp_idx",
        ),
        ("SELECT * FROM iris_data ORDER BY id DESC LIMIT 100", "iris_data_pkey"),
        ("SELECT max(id) FROM iris_data", "iris_data_pkey"),
    ],
)
def test_the_queries_of_the_course_use_an_index(
    iris_table: Database, query: str, index: str
) -> None:
    with iris_table.connect() as connection:
        connection.execute(
            "INSERT INTO iris_data (timestamp, sepal_length, sepal_width, petal_length, "
            "petal_width, target) SELECT now() - i * interval '1 s', 5, 3, 1, 1, 0 "
            "FROM generate_series(1, 20000) i"
        )
        connection.execute("ANALYZE iris_data")
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}"))
    assert index in plan
    assert "Seq Scan" not in plan
