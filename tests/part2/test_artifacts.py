"""What lies beside a saved model, and what happens when it cannot be written or was changed."""

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from part2.artifacts import Training, load_model, save_training
from part2.command import WorkFailedError
from part2.dataset import load_dataset, split_rows
from part2.evaluation import Evaluation, confirm_same, evaluate
from part2.pipeline_train import make_pipeline
from tests.conftest import RunModule


@pytest.fixture(scope="module")
def training() -> Training:
    dataset = load_dataset(None)
    split = split_rows(dataset)
    model = make_pipeline().fit(split.train_x, split.train_y)
    return Training(dataset, split, {"model": model}, evaluate(model.predict, split))


@pytest.fixture
def saved(training: Training, tmp_path: Path) -> Path:
    save_training(training, tmp_path / "saved")
    return tmp_path / "saved"


def test_metrics_say_how_the_model_came_about(saved: Path) -> None:
    metrics = json.loads((saved / "metrics.json").read_bytes())

    assert metrics["train_accuracy"] == pytest.approx(118 / 120)
    assert metrics["valid_accuracy"] == pytest.approx(29 / 30)
    assert metrics["rows"] == {"train": 120, "valid": 30, "distinct_measurements": 149}
    assert metrics["seed"] == 2022
    assert metrics["train_size"] == 0.8
    assert metrics["params"]["model"]["svc__C"] == 1.0
    assert metrics["params"]["model"]["svc__kernel"] == "rbf"
    assert metrics["versions"]["scikit-learn"] == version("scikit-learn")
    assert metrics["versions"]["python"] == platform.python_version()


def test_every_file_is_listed_with_its_hash(saved: Path) -> None:
    metrics = json.loads((saved / "metrics.json").read_bytes())

    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in saved.iterdir()
        if file.name != "metrics.json"
    }

    assert set(found) == {"model.joblib", "data.csv", "confusion_matrix.png"}
    assert found == metrics["files"]
    assert found["data.csv"] == metrics["data_sha256"]
    assert (saved / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_the_snapshot_is_the_data(saved: Path, training: Training) -> None:
    again = load_dataset(saved / "data.csv").frame.reset_index(drop=True)

    assert again.equals(training.dataset.frame.reset_index(drop=True))


def test_the_same_training_gives_the_same_bytes(training: Training, tmp_path: Path) -> None:
    split = split_rows(load_dataset(None))
    again = make_pipeline().fit(split.train_x, split.train_y)
    one, two = training.models["model"], again
    assert (one.decision_function(split.valid_x) == two.decision_function(split.valid_x)).all()

    evaluation = evaluate(again.predict, split)
    save_training(training, tmp_path / "one")
    save_training(Training(load_dataset(None), split, {"model": again}, evaluation), tmp_path / "2")

    for name in ("model.joblib", "data.csv", "confusion_matrix.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_changed_model_file_is_not_loaded(saved: Path) -> None:
    (saved / "model.joblib").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")

    with pytest.raises(WorkFailedError, match=r"is not the file that metrics\.json describes"):
        load_model(saved, "model")


@pytest.mark.parametrize("missing", ["model.joblib", "metrics.json"])
def test_an_incomplete_folder_is_not_loaded(saved: Path, missing: str) -> None:
    (saved / missing).unlink()

    with pytest.raises(WorkFailedError, match="holds no complete model 'model'"):
        load_model(saved, "model")


def test_a_loaded_model_that_disagrees_is_a_failure(training: Training) -> None:
    good = training.evaluation
    # As many right answers, but other ones.
    swapped = good.valid_predictions[::-1]
    other = Evaluation(good.train_predictions, swapped, good.train_accuracy, good.valid_accuracy)

    confirm_same(good, good)
    with pytest.raises(WorkFailedError, match="predicts something else"):
        confirm_same(good, other)


def test_a_folder_that_cannot_be_made_is_one_line(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    output = str(tmp_path / "file" / "model")
    done = run_module("part2.base_validate_save_model", "--output", output)

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write into {output}: Not a directory; ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_leaves_the_old_model_in_place(saved: Path, training: Training) -> None:
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    beside = saved / f".data.csv.{os.getpid()}"
    beside.symlink_to("/dev/full")  # every write fails as on a full disk

    with pytest.raises(WorkFailedError, match=r"No space left on device; .* --output"):
        save_training(training, saved)

    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before
    load_model(saved, "model")
