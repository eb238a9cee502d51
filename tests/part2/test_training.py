"""Training on scikit-learn's iris and on CSV files."""

from pathlib import Path

import joblib
import numpy as np
import pytest

from part2.base_train import fit_by_hand, predict_with
from part2.dataset import load_dataset, split_rows
from part2.pipeline_train import make_pipeline
from tests.conftest import RunModule

ON_IRIS = """\
Train Rows : 120
Valid Rows : 30
Train Accuracy : 0.9833333333333333
Valid Accuracy : 0.9666666666666667
"""


@pytest.mark.parametrize("script", ["base_train", "pipeline_train"])
def test_training_on_iris_prints_the_accuracies_of_the_course(
    run_module: RunModule, script: str
) -> None:
    done = run_module(f"part2.{script}", check=True)

    assert done.stdout == ON_IRIS
    assert done.stderr == ""


def test_base_and_pipeline_agree_prediction_for_prediction() -> None:
    split = split_rows(load_dataset(None))
    by_hand = predict_with(*fit_by_hand(split))
    pipeline = make_pipeline().fit(split.train_x, split.train_y)

    for features in (split.train_x, split.valid_x):
        assert np.array_equal(by_hand(features), pipeline.predict(features))


def test_forgetting_to_scale_gives_other_predictions() -> None:
    split = split_rows(load_dataset(None))
    scaler, classifier = fit_by_hand(split)

    unscaled = classifier.predict(split.train_x.to_numpy())

    assert not np.array_equal(unscaled, predict_with(scaler, classifier)(split.train_x))


@pytest.mark.parametrize(
    ("script", "models"),
    [
        ("base_validate_save_model", ["scaler", "classifier"]),
        ("pipeline_validate_save_model", ["model"]),
    ],
)
def test_a_saved_model_is_loaded_and_agrees(
    run_module: RunModule, tmp_path: Path, script: str, models: list[str]
) -> None:
    done = run_module(f"part2.{script}", "--output", str(tmp_path), check=True)

    assert done.stdout == (
        "Train Accuracy : 0.9833333333333333\n"
        "Valid Accuracy : 0.9666666666666667\n"
        "Load Model Train Accuracy is same? True\n"
        "Load Model Valid Accuracy is same? True\n"
        f"Saved in {tmp_path}\n"
    )
    split = split_rows(load_dataset(None))
    features = split.valid_x
    *steps, last = (joblib.load(tmp_path / f"{name}.joblib") for name in models)
    for step in steps:
        features = step.transform(features)
    assert (last.predict(features) == split.valid_y).mean() == pytest.approx(29 / 30)


def test_a_csv_file_of_iris_trains_like_iris(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    load_dataset(None).frame.to_csv(path)

    done = run_module("part2.pipeline_train", "--csv", str(path), check=True)

    assert done.stdout == ON_IRIS


def test_blank_lines_and_further_columns_in_a_csv_file_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    iris = load_dataset(None).frame
    text = iris.assign(collector="Edgar Anderson").to_csv()
    path.write_text(text.replace("\n", "\n\n", 3) + "\n\n", encoding="utf-8")

    assert np.array_equal(load_dataset(path).frame, iris)


def test_a_csv_file_with_copies_of_rows_warns_that_the_accuracy_flatters(
    run_module: RunModule, tmp_path: Path
) -> None:
    path = tmp_path / "twice.csv"
    iris = load_dataset(None).frame.to_csv(index=False)
    path.write_text(iris + iris.split("\n", 1)[1], encoding="utf-8")

    done = run_module("part2.base_train", "--csv", str(path), check=True)

    assert "of 60 validation rows hold a measurement that is trained on too" in done.stderr
