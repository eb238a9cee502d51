"""Good rows pass; every kind of poison is found and named by its id."""

import json
import subprocess
from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from part1.command import WorkFailedError
from part1.data_quality import read_newest
from part1.quality_schema import Expectations, Finding, check
from tests.conftest import Database, RunModule

QUALITY = "part1.data_quality"
# As first taught: no constraint holds poison back, `timestamp` has no zone, ids have 32 bits.
ARCHIVE_TABLE = """
    CREATE TABLE iris_data (id SERIAL PRIMARY KEY, timestamp timestamp, sepal_length float8,
    sepal_width float8, petal_length float8, petal_width float8, target int)
"""
FIFTY_ROWS = """
    INSERT INTO iris_data (timestamp, sepal_length, sepal_width, petal_length, petal_width, target)
    SELECT now() - (50 - i) * interval '1 s', 5.1, 3.5, 1.4, 0.2, i % 3
    FROM generate_series(1, 50) i
"""


@pytest.fixture
def archive_table(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(ARCHIVE_TABLE)
        connection.execute(FIFTY_ROWS)
    return database


def run_sql(database: Database, *statements: str) -> None:
    with database.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def findings(
    database: Database, rows: int = 1000, max_duplicate_rate: float = 0.0
) -> dict[str, Finding]:
    engine = create_engine(database.url)
    with engine.connect() as connection:
        newest = read_newest(connection, rows)
        now = connection.exec_driver_sql("SELECT now()").scalar_one()
    engine.dispose()
    found = check(newest, Expectations(now, timedelta(hours=24), max_duplicate_rate))
    return {finding.check: finding for finding in found}


def bad(database: Database, rows: int = 1000) -> dict[str, list[int | None]]:
    """The failed checks and the ids that they name."""
    return {name: f.ids for name, f in findings(database, rows).items() if f.ok is False}


def test_what_the_generator_writes_is_good(iris_table: Database, run_module: RunModule) -> None:
    options = ("--count", "5000", "--bulk")
    run_module("part1.data_generator", *options, env=iris_table.environ, check=True)
    done = run_module(QUALITY, env=iris_table.environ, check=True)
    assert "5,000" in done.stdout
    assert "BAD" not in done.stdout
    # Measurements repeat by design, and that is not a fault.
    assert "drawn with replacement" in done.stdout


def test_the_archives_table_can_be_checked_and_is_good(archive_table: Database) -> None:
    assert bad(archive_table) == {}


def test_a_timestamp_without_zone_is_taken_as_the_servers_local_time(database: Database) -> None:
    run_sql(database, f"ALTER DATABASE {database.name} SET TimeZone TO 'Asia/Seoul'")
    run_sql(database, ARCHIVE_TABLE, FIFTY_ROWS)
    assert bad(database) == {}
    assert findings(database)["freshness"].found.endswith(" s old")


@pytest.mark.parametrize(
    ("poison", "expected"),
    [
        ("UPDATE iris_data SET petal_width = NULL WHERE id IN (3, 8)", {"nulls": [3, 8]}),
        ("UPDATE iris_data SET target = NULL WHERE id = 3", {"nulls": [3]}),
        ("UPDATE iris_data SET timestamp = NULL WHERE id = 3", {"nulls": [3]}),
        ("UPDATE iris_data SET sepal_width = 'nan' WHERE id = 3", {"nulls": [3]}),
        ("UPDATE iris_data SET sepal_length = 0 WHERE id = 4", {"sepal_length": [4]}),
        ("UPDATE iris_data SET sepal_width = -1 WHERE id = 5", {"sepal_width": [5]}),
        ("UPDATE iris_data SET petal_length = 31 WHERE id = 6", {"petal_length": [6]}),
        ("UPDATE iris_data SET petal_width = 'infinity' WHERE id = 7", {"petal_width": [7]}),
        ("UPDATE iris_data SET target = 3 WHERE id IN (9, 11)", {"target": [9, 11]}),
        ("UPDATE iris_data SET target = -1 WHERE id = 9", {"target": [9]}),
        (
            "UPDATE iris_data SET (timestamp, target) = "
            "(SELECT timestamp, target FROM iris_data WHERE id = 9) WHERE id = 10",
            {"duplicate rows": [10]},
        ),
        ("UPDATE iris_data SET timestamp = timestamp - interval '25 h'", {"freshness": [50]}),
        (
            "UPDATE iris_data SET timestamp = now() + interval '1 day' WHERE id = 20",
            {"timestamp": [20]},
        ),
        ("UPDATE iris_data SET timestamp = 'infinity' WHERE id = 20", {"timestamp": [20]}),
        ("DELETE FROM iris_data WHERE id BETWEEN 20 AND 22", {"id gaps": [23]}),
    ],
)
def test_poison_is_found_and_named(
    archive_table: Database, poison: str, expected: dict[str, list[int]]
) -> None:
    run_sql(archive_table, poison)
    assert bad(archive_table) == expected


def test_missing_ids_are_listed(archive_table: Database) -> None:
    run_sql(
        archive_table,
        "DELETE FROM iris_data WHERE id BETWEEN 20 AND 22 OR id = 30",
        "UPDATE iris_data SET id = 1000000000 WHERE id = 50",
    )
    gaps = findings(archive_table)["id gaps"]
    assert gaps.found == "999,999,954 missing: 20 to 22, 30, 50 to 999999999"
    assert gaps.ids == [23, 31, 1_000_000_000]


def test_an_id_that_stands_twice_or_is_null_is_found(archive_table: Database) -> None:
    run_sql(
        archive_table,
        "ALTER TABLE iris_data DROP CONSTRAINT iris_data_pkey, ALTER id DROP NOT NULL",
        "UPDATE iris_data SET id = 15 WHERE id = 16",
        "UPDATE iris_data SET id = NULL WHERE id = 50",
    )
    assert bad(archive_table) == {"nulls": [None], "id unique": [15], "id gaps": [17]}


def test_a_column_of_another_type_is_named_and_the_others_are_still_checked(
    archive_table: Database,
) -> None:
    run_sql(
        archive_table,
        "ALTER TABLE iris_data ALTER target TYPE text, ALTER timestamp TYPE text",
        "UPDATE iris_data SET sepal_width = -1 WHERE id = 5",
    )
    found = findings(archive_table)
    assert found["column types"].ok is False
    assert "target is" in found["column types"].found
    assert "timestamp is" in found["column types"].found
    assert found["target"].found == "not checked: wrong type"
    assert found["sepal_width"].ids == [5]


def test_some_duplicates_can_be_allowed(archive_table: Database) -> None:
    run_sql(archive_table, "UPDATE iris_data SET (timestamp, target) = ('2026-11-01', 0)")
    run_sql(archive_table, "UPDATE iris_data SET timestamp = now(), petal_width = id / 10.0 + 0.1")
    run_sql(archive_table, "UPDATE iris_data SET petal_width = 0.2 WHERE id IN (2, 3)")
    assert findings(archive_table)["duplicate rows"].ids == [2, 3]
    assert findings(archive_table, max_duplicate_rate=0.039)["duplicate rows"].ok is False
    assert findings(archive_table, max_duplicate_rate=0.04)["duplicate rows"].ok is True


def test_only_the_newest_rows_are_read(archive_table: Database) -> None:
    run_sql(archive_table, "UPDATE iris_data SET target = 7 WHERE id = 40")
    assert bad(archive_table, rows=10) == {}
    assert bad(archive_table, rows=11) == {"target": [40]}


def test_the_report_and_its_json_agree(archive_table: Database, run_module: RunModule) -> None:
    run_sql(
        archive_table,
        "UPDATE iris_data SET sepal_length = NULL WHERE id = 3",
        "UPDATE iris_data SET target = 7 WHERE id = 4",
        "UPDATE iris_data SET timestamp = timestamp - interval '3 days'",
        "DELETE FROM iris_data WHERE id = 20",
    )
    report = run_module(QUALITY, env=archive_table.environ)
    as_json = run_module(QUALITY, "--json", env=archive_table.environ)
    assert (report.returncode, as_json.returncode) == (1, 1)
    document = json.loads(as_json.stdout)
    assert document["ok"] is False
    assert (document["rows"], document["first_id"], document["last_id"]) == (49, 1, 50)
    failed = {c["check"]: c["ids"] for c in document["checks"] if c["ok"] is False}
    assert failed == {"nulls": [3], "target": [4], "id gaps": [21], "freshness": [50]}
    lines = {_cells(line)[0]: _cells(line) for line in report.stdout.splitlines() if "│" in line}
    for line in document["checks"]:
        cells = lines[line["check"]]
        assert cells[2] == line["found"]
        assert cells[3] == {True: "ok", False: "BAD", None: "-"}[line["ok"]]
        assert cells[4] == ", ".join(str(i) for i in line["ids"])
    summary = "4 of 14 checks of iris_data failed (nulls, target, id gaps, freshness)"
    for done in (report, as_json):
        assert_one_line(done, summary)


def test_stricter_than_the_default_age(archive_table: Database, run_module: RunModule) -> None:
    run_sql(archive_table, "UPDATE iris_data SET timestamp = timestamp - interval '2 h'")
    done = run_module(QUALITY, "--max-age", "1", env=archive_table.environ)
    assert_one_line(done, "failed (freshness)")


def test_an_empty_table_is_bad_and_names_the_remedy(
    iris_table: Database, run_module: RunModule
) -> None:
    done = run_module(QUALITY, "--json", env=iris_table.environ)
    assert json.loads(done.stdout)["ok"] is False
    assert_one_line(done, "iris_data is empty", "part1.data_generator --count 1000 --bulk")


def test_a_missing_table_names_the_remedy(database: Database, run_module: RunModule) -> None:
    done = run_module(QUALITY, env=database.environ)
    assert_one_line(done, "no table iris_data", "uv run python -m part1.table_creator")


def test_a_missing_column_is_named(archive_table: Database) -> None:
    run_sql(archive_table, "ALTER TABLE iris_data DROP petal_width, DROP target")
    with pytest.raises(WorkFailedError, match=r"no column petal_width, target; .*table_creator"):
        findings(archive_table)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
