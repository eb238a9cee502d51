import json
from pathlib import Path

import pandas as pd
import pytest

from tests.archive.conftest import Archive, Archived, accuracies
from tests.conftest import Database, RunModule

# scikit-learn's iris, 120 and 30 rows: 118 of 120 and 29 of 30 are right.
ON_IRIS = {"Train": 118 / 120, "Valid": 29 / 30}
ROWS = 100  # the number in archive/part2/db_train.py


@pytest.mark.parametrize("script", ["base_train", "pipeline_train"])
def test_old_and_new_training_on_iris_give_the_same_accuracies(
    archived: Archive, run_module: RunModule, script: str
) -> None:
    old = accuracies(archived("part2").run(f"{script}.py"))
    new = run_module(f"part2.{script}", check=True).stdout

    assert old == ON_IRIS
    assert accuracies(new) == old
    assert "Train Rows : 120" in new
    assert "Valid Rows : 30" in new


@pytest.mark.parametrize("kind", ["base", "pipeline"])
def test_old_and_new_saved_models_score_the_same(
    archived: Archive, run_module: RunModule, tmp_path: Path, kind: str
) -> None:
    old = archived("part2")
    old.run(f"{kind}_train.py")
    output = tmp_path / "new"

    printed = run_module(
        f"part2.{kind}_validate_save_model", "--output", str(output), check=True
    ).stdout

    assert accuracies(old.run(f"{kind}_validate_save_model.py")) == ON_IRIS
    assert accuracies(printed) == ON_IRIS


@pytest.fixture
def filled(database: Database, run_module: RunModule) -> Database:
    """A table that both trainings read, filled by the new generator."""
    run_module("part1.table_creator", env=database.environ, check=True)
    args = ("--count", "1000", "--bulk")
    run_module("part1.data_generator", *args, env=database.environ, check=True)
    return database


@pytest.fixture
def old_part2(archived: Archive, filled: Database) -> Archived:
    return archived("part2", filled)


def test_the_split_is_all_that_differs_in_training_from_the_database(
    old_part2: Archived, run_module: RunModule, filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new loader with the archive's split gives the archive's number."""
    from part2.database import read_newest_rows
    from part2.dataset import Dataset, split_measurements, split_rows
    from part2.evaluation import evaluate
    from part2.pipeline_train import make_pipeline
    from part2.settings import load_settings

    for name, value in filled.environ.items():
        monkeypatch.setenv(name, value)
    old = accuracies(old_part2.run("db_train.py"))
    new_run = run_module("part2.db_train", "--rows", str(ROWS), env=filled.environ, check=True)

    dataset = read_newest_rows(load_settings(), ROWS)
    newest_first = Dataset(dataset.frame.iloc[::-1], dataset.source)  # the archive's order

    by_rows = split_rows(newest_first)
    naive = evaluate(make_pipeline().fit(by_rows.train_x, by_rows.train_y).predict, by_rows)
    assert by_rows.leaked_rows > 0
    assert {"Train": naive.train_accuracy, "Valid": naive.valid_accuracy} == old

    apart = split_measurements(dataset)
    honest = evaluate(make_pipeline().fit(apart.train_x, apart.train_y).predict, apart)
    assert apart.leaked_rows == 0
    assert {
        "Train": honest.train_accuracy,
        "Valid": honest.valid_accuracy,
    } == accuracies(new_run.stdout)


def test_old_and_new_read_the_same_newest_rows(
    old_part2: Archived, run_module: RunModule, filled: Database, tmp_path: Path
) -> None:
    old_part2.run("db_train.py")
    output = tmp_path / "new"
    args = ("--rows", str(ROWS), "--output", str(output))
    run_module("part2.db_validate_save_model", *args, env=filled.environ, check=True)

    old_rows = pd.read_csv(old_part2.folder / "data.csv").drop(columns=["timestamp"])
    new_rows = pd.read_csv(output / "data.csv")

    columns = [name for name in new_rows.columns if name in old_rows.columns]
    assert {"sepal_length", "petal_width", "target"} <= set(columns)
    pd.testing.assert_frame_equal(
        old_rows.sort_values("id")[columns].reset_index(drop=True),
        new_rows[columns].reset_index(drop=True),
    )
    counts = json.loads((output / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert counts["train"] + counts["valid"] == ROWS


def test_the_archives_saved_model_scores_as_it_was_trained(old_part2: Archived) -> None:
    trained = accuracies(old_part2.run("db_train.py"))

    assert accuracies(old_part2.run("db_validate_save_model.py")) == trained
