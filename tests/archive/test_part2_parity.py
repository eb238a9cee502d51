import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from part2.newest_rows import read_newest_rows
from part2.dataset import Dataset, Split, split_measurements, split_rows
from part2.evaluation import evaluate
from part2.pipeline_train import make_pipeline
from part2.settings import load_settings
from tests.archive.conftest import Accuracies, Archived, accuracies, copy_archive
from tests.conftest import Database, RunModule

# scikit-learn's iris, 120 and 30 rows: 118 of 120 and 29 of 30 are right.
ON_IRIS = {"Train": 118 / 120, "Valid": 29 / 30}
ROWS = 100  # the number in archive/part2/db_train.py


@pytest.mark.parametrize("kind", ["base", "pipeline"])
def test_old_and_new_training_on_iris_give_the_same_accuracies(
    run_module: RunModule, tmp_path: Path, kind: str
) -> None:
    old = copy_archive("part2", tmp_path)
    new = run_module(f"part2.{kind}_train", check=True).stdout

    assert accuracies(old.run(f"{kind}_train.py")) == ON_IRIS
    assert accuracies(old.run(f"{kind}_validate_save_model.py")) == ON_IRIS
    assert accuracies(new) == ON_IRIS
    assert "Train Rows : 120" in new
    assert "Valid Rows : 30" in new


@dataclass(frozen=True)
class FromDatabase:
    """Both trainings on the newest rows of one table, which the new generator filled."""

    old: Archived
    old_accuracies: Accuracies
    new_folder: Path
    new_accuracies: Accuracies
    dataset: Dataset  # what the new loader reads


@pytest.fixture(scope="module")
def trained(
    module_database: Database, run_module: RunModule, tmp_path_factory: pytest.TempPathFactory
) -> FromDatabase:
    environ = module_database.environ
    run_module("part1.table_creator", env=environ, check=True)
    run_module("part1.data_generator", "--count", "1000", "--bulk", env=environ, check=True)
    old = copy_archive("part2", tmp_path_factory.mktemp("old"), module_database)
    new = tmp_path_factory.mktemp("new")
    args = ("--rows", str(ROWS), "--output", str(new))
    printed = run_module("part2.db_validate_save_model", *args, env=environ, check=True).stdout
    settings = load_settings(**{name.lower(): value for name, value in environ.items()})
    return FromDatabase(
        old,
        accuracies(old.run("db_train.py")),
        new,
        accuracies(printed),
        read_newest_rows(settings, ROWS),
    )


def scored(split: Split) -> Accuracies:
    evaluation = evaluate(make_pipeline().fit(split.train_x, split.train_y).predict, split)
    return {"Train": evaluation.train_accuracy, "Valid": evaluation.valid_accuracy}


def test_the_archives_split_on_the_new_loader_gives_the_archives_number(
    trained: FromDatabase,
) -> None:
    newest_first = Dataset(trained.dataset.frame.iloc[::-1], trained.dataset.source)

    by_rows = split_rows(newest_first)

    assert by_rows.leaked_rows > 0
    assert scored(by_rows) == trained.old_accuracies


def test_the_new_split_gives_the_new_number_and_leaks_nothing(trained: FromDatabase) -> None:
    apart = split_measurements(trained.dataset)

    assert apart.leaked_rows == 0
    assert scored(apart) == trained.new_accuracies


def test_old_and_new_train_on_the_same_newest_rows(trained: FromDatabase) -> None:
    old = pd.read_csv(trained.old.folder / "data.csv").drop(columns="timestamp")
    new = pd.read_csv(trained.new_folder / "data.csv")

    counts = json.loads((trained.new_folder / "metrics.json").read_text("utf-8"))["rows"]
    assert counts["train"] + counts["valid"] == ROWS
    pd.testing.assert_frame_equal(old.sort_values("id", ignore_index=True), new)


def test_the_archives_saved_model_scores_as_it_was_trained(trained: FromDatabase) -> None:
    again = accuracies(trained.old.run("db_validate_save_model.py"))

    assert again == trained.old_accuracies
