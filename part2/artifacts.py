"""What is kept of a training: the models, and enough beside them to repeat and judge it.

Files are written beside their place and renamed. `metrics.json` comes last and holds the SHA-256 of
every other file, so that a reader never takes a half-written folder for a finished one.
"""

import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from part2.command import WorkFailedError
from part2.dataset import SEED, TRAIN_SIZE, Dataset, Split
from part2.evaluation import Evaluation, confusion_matrix_png

LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Training:
    """One finished training: what went in and what came out.

    `models` are scikit-learn estimators by file name without ending; `extras` are further files by
    full name.
    """

    dataset: Dataset
    split: Split
    models: Mapping[str, Any]
    evaluation: Evaluation
    extras: Mapping[str, bytes] = field(default_factory=dict)


def save_training(training: Training, directory: Path) -> None:
    """Write the models, `data.csv`, `confusion_matrix.png` and `metrics.json` into `directory`.

    Raises:
        WorkFailedError: the folder cannot be written; what was there before still is.
    """
    data = training.dataset.frame.to_csv(lineterminator="\n").encode()
    files = {f"{name}.joblib": _dumped(model) for name, model in training.models.items()}
    files |= {
        "data.csv": data,
        "confusion_matrix.png": confusion_matrix_png(training.evaluation, training.split),
        **training.extras,
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    metrics = json.dumps(_metrics(training, sums), indent=2).encode() + b"\n"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in {**files, "metrics.json": metrics}.items():
            _write_and_rename(directory / name, content)
    except OSError as exc:
        raise WorkFailedError(
            f"cannot write into {directory}: {exc.strerror}; make room there or choose another "
            "folder with --output"
        ) from exc


def load_model(directory: Path, name: str) -> Any:
    """Load a model that `save_training` wrote, after comparing its SHA-256 with `metrics.json`.

    The comparison comes first because loading a joblib file runs the code that is in it.

    Raises:
        WorkFailedError: the folder does not hold that model whole.
    """
    path = directory / f"{name}.joblib"
    try:
        content = path.read_bytes()
        expected = json.loads((directory / "metrics.json").read_bytes())["files"][path.name]
    except (OSError, ValueError, KeyError) as exc:
        raise WorkFailedError(
            f"{directory} holds no complete model {name!r}; train it again"
        ) from exc
    if hashlib.sha256(content).hexdigest() != expected:
        raise WorkFailedError(
            f"{path} is not the file that metrics.json describes; train the model again"
        )
    return joblib.load(io.BytesIO(content))


def _metrics(training: Training, sums: Mapping[str, str]) -> dict[str, Any]:
    split = training.split
    return {
        "train_accuracy": training.evaluation.train_accuracy,
        "valid_accuracy": training.evaluation.valid_accuracy,
        "rows": {
            "train": len(split.train_x),
            "valid": len(split.valid_x),
            "distinct_measurements": int(training.dataset.measurements.nunique()),
        },
        "source": training.dataset.source,
        "seed": SEED,
        "train_size": TRAIN_SIZE,
        "params": {name: _params(model) for name, model in training.models.items()},
        "data_sha256": sums["data.csv"],
        "files": dict(sums),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _params(model: Any) -> dict[str, Any]:
    """The numbers and names a model was made with; a pipeline also lists its parts, left out."""
    plain = (str, int, float, bool, type(None))
    return {name: value for name, value in model.get_params().items() if isinstance(value, plain)}


def _dumped(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


def _write_and_rename(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the content does
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
