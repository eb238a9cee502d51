"""`iris_data` is the same table with the same rows, whichever part makes it."""

from dataclasses import dataclass

import pytest

from tests.conftest import Database, RunModule

# Everything that makes it this table: columns, constraints, indexes.
DESCRIPTION = {
    "columns": """
        SELECT column_name, data_type, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_name = 'iris_data' ORDER BY ordinal_position
    """,
    # not null has been a constraint with a generated name of its own since PostgreSQL 18
    "constraints": """
        SELECT conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid = 'iris_data'::regclass ORDER BY conname
    """,
    "indexes": """
        SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'iris_data' ORDER BY indexname
    """,
}

EXPECTED_COLUMNS = [
    ("id", "bigint", "NO", None, "YES"),
    ("timestamp", "timestamp with time zone", "NO", "now()", "NO"),
    ("sepal_length", "double precision", "NO", None, "NO"),
    ("sepal_width", "double precision", "NO", None, "NO"),
    ("petal_length", "double precision", "NO", None, "NO"),
    ("petal_width", "double precision", "NO", None, "NO"),
    ("target", "integer", "NO", None, "NO"),
]


ROWS = "SELECT id, sepal_length, sepal_width, petal_length, petal_width, target FROM iris_data"
COUNT = 9000  # the stream is drawn in blocks of 8192 rows: this needs a second one


@dataclass(frozen=True)
class Table:
    """What makes it this table, and what is in it."""

    definition: dict[str, list[tuple[object, ...]]]
    rows: list[tuple[object, ...]]


def table_in(database: Database) -> Table:
    with database.connect() as connection:
        definition = {
            name: connection.execute(query.encode()).fetchall()
            for name, query in DESCRIPTION.items()
        }
        return Table(definition, connection.execute(f"{ROWS} ORDER BY id".encode()).fetchall())


@pytest.fixture(scope="module")
def part1s_table(module_database: Database, run_module: RunModule) -> Table:
    generate = ("part1.data_generator", "--count", str(COUNT), "--bulk")
    run_module(*generate, env=module_database.environ, check=True)
    return table_in(module_database)


def test_part1_makes_the_table_of_the_contract(part1s_table: Table) -> None:
    assert part1s_table.definition["columns"] == EXPECTED_COLUMNS
    indexes = part1s_table.definition["indexes"]
    assert any("timestamp" in str(definition) for _, definition in indexes)
    assert [row[0] for row in part1s_table.rows] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("part", ["part2", "part3", "part6"])
def test_a_part_that_stands_alone_makes_the_same_table_with_the_same_rows(
    part: str, part1s_table: Table, database: Database, run_module: RunModule
) -> None:
    run_module(f"{part}.seed_database", "--rows", "10", env=database.environ, check=True)
    run_module(f"{part}.seed_database", "--rows", str(COUNT), env=database.environ, check=True)

    assert table_in(database) == part1s_table
    run_module("part1.data_quality", env=database.environ, check=True)
