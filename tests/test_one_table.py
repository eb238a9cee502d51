"""`iris_data` is the same table, whichever part makes it."""

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


def described(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.connect() as connection:
        return {
            name: connection.execute(query.encode()).fetchall()
            for name, query in DESCRIPTION.items()
        }


@pytest.fixture(scope="module")
def part1s_table(
    module_database: Database, run_module: RunModule
) -> dict[str, list[tuple[object, ...]]]:
    run_module("part1.table_creator", env=module_database.environ, check=True)
    return described(module_database)


def test_part1_makes_the_table_of_the_contract(
    part1s_table: dict[str, list[tuple[object, ...]]],
) -> None:
    assert part1s_table["columns"] == EXPECTED_COLUMNS
    assert any("timestamp" in str(definition) for _, definition in part1s_table["indexes"])


@pytest.mark.parametrize("part", ["part2", "part3"])
def test_a_part_that_stands_alone_makes_the_same_table(
    part: str,
    part1s_table: dict[str, list[tuple[object, ...]]],
    database: Database,
    run_module: RunModule,
) -> None:
    run_module(f"{part}.seed_database", "--rows", "10", env=database.environ, check=True)

    assert described(database) == part1s_table
