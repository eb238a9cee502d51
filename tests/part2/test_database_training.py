"""Training on the newest rows of a real PostgreSQL."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from part2.newest_rows import read_newest_rows
from part2.seed_database import top_up
from tests.conftest import Database, RunModule
from tests.part2.database_settings import settings_of


@pytest.fixture(scope="module")
def filled(module_database: Database, run_module: RunModule) -> Database:
    run_module("part2.seed_database", "--rows", "1000", env=module_database.environ, check=True)
    return module_database


def counts(printed: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(.+) : (\S+)$", printed, re.M)}


def test_training_prints_rows_measurements_and_accuracies(
    run_module: RunModule, filled: Database
) -> None:
    done = run_module("part2.db_train", env=filled.environ, check=True)

    printed = counts(done.stdout)
    assert list(printed) == [
        "Rows",
        "Distinct Measurements",
        "Train Rows",
        "Valid Rows",
        "Train Accuracy",
        "Valid Accuracy",
    ]
    assert printed["Rows"] == 1000
    assert printed["Train Rows"] + printed["Valid Rows"] == 1000
    assert printed["Distinct Measurements"] <= 149  # two of the 150 flowers are equal
    assert printed["Train Accuracy"] > 0.9
    assert printed["Valid Accuracy"] > 0.9
    assert done.stderr == ""


def test_only_the_newest_rows_are_trained_on(
    run_module: RunModule, filled: Database, tmp_path: Path
) -> None:
    args = ("--rows", "60", "--output", str(tmp_path))
    run_module("part2.db_validate_save_model", *args, env=filled.environ, check=True)

    data = pd.read_csv(tmp_path / "data.csv")
    assert list(data["id"]) == list(range(941, 1001))


def test_same_rows_same_seed_same_model_in_another_database(
    run_module: RunModule, filled: Database, database: Database, tmp_path: Path
) -> None:
    # In two steps: how the rows came into the table makes no difference.
    for rows in (400, 1000):
        top_up(settings_of(database), rows, seed=2022)
    outputs = [tmp_path / "one", tmp_path / "two"]
    # One of them in an interpreter of its own, with other hashes of strings.
    for output, place, fresh in zip(outputs, (filled, database), (False, True), strict=True):
        script, args = "part2.db_validate_save_model", ("--output", str(output))
        run_module(script, *args, env=place.environ, check=True, fresh=fresh)

    one, two = (json.loads((output / "metrics.json").read_bytes()) for output in outputs)
    for metrics in (one, two):
        del metrics["created"]
    assert one == two  # the SHA-256 of model, data and plot among them
    assert one["data_sha256"] == one["files"]["data.csv"]


def test_another_row_gives_another_hash(
    run_module: RunModule, database: Database, tmp_path: Path
) -> None:
    args = ("--rows", "200", "--output", str(tmp_path))
    hashes = set()
    top_up(settings_of(database), 200, seed=2022)
    for _ in range(2):
        run_module("part2.db_validate_save_model", *args, env=database.environ, check=True)
        hashes.add(json.loads((tmp_path / "metrics.json").read_bytes())["data_sha256"])
        with database.connect() as connection:
            connection.execute("UPDATE iris_data SET sepal_width = 3.33 WHERE id = 150")

    assert len(hashes) == 2


def test_a_grown_table_is_still_trained_on(database: Database) -> None:
    top_up(settings_of(database), 100, seed=2022)
    with database.connect() as connection:
        connection.execute("ALTER TABLE iris_data ADD COLUMN collector text")

    frame = read_newest_rows(settings_of(database), 1000).frame
    assert len(frame) == 100
    assert "collector" not in frame


def test_fewer_rows_than_asked_for_are_all_read_oldest_first(database: Database) -> None:
    top_up(settings_of(database), 40, seed=2022)

    frame = read_newest_rows(settings_of(database), 1000).frame

    assert list(frame.index) == list(range(1, 41))
    assert set(map(str, frame.dtypes)) == {"float64", "int64"}


def test_seeding_tops_up_in_order_and_is_idempotent(
    run_module: RunModule, database: Database
) -> None:
    for rows, message in (("30", "30 rows added"), ("50", "20 rows added"), ("50", "0 rows added")):
        done = run_module("part2.seed_database", "--rows", rows, env=database.environ, check=True)
        assert message in done.stderr
    with database.connect() as connection:
        ids = [row for (row,) in connection.execute("SELECT id FROM iris_data ORDER BY id")]
        assert ids == list(range(1, 51))
        # A row that is inserted by hand finds the next id free.
        connection.execute(
            "INSERT INTO iris_data (sepal_length, sepal_width, petal_length, petal_width, target) "
            "VALUES (1, 1, 1, 1, 0)"
        )
        assert connection.execute("SELECT max(id) FROM iris_data").fetchone() == (51,)


def test_the_check_of_the_seeded_table_fails_while_rows_are_missing(
    run_module: RunModule, filled: Database
) -> None:
    for rows, status in (("1000", 0), ("1001", 1)):
        args = ("--check", "--rows", rows)
        assert run_module("part2.seed_database", *args, env=filled.environ).returncode == status
