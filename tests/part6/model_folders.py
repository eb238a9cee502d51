"""A model folder as download_model leaves it, made without a registry."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from part6.estimator import ask, load_skops
from part6.file_hashes import digest, file_hashes
from part6.iris import FEATURES
from part6.manifest import REFERENCE, SKOPS, Column, Manifest, Smoke, write_manifest
from part6.seed_database import draw


def flowers(seed: int, first: int, last: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Measurements (n, 4) in cm and species (n,) of the rows `first` to `last` of a stream."""
    x, y = load_iris(return_X_y=True)
    drawn = draw(seed, first, last)
    return x[drawn], y[drawn]


def make_model_folder(model_dir: Path, version: int = 1, rows: int = 1000) -> Manifest:
    """Train on the first `rows` rows of the course's stream and put the model into place."""
    x, y = flowers(2022, 1, rows)
    made = model_dir / "made"
    made.mkdir(parents=True)
    skops.io.dump(make_pipeline(StandardScaler(), SVC()).fit(x, y), made / SKOPS)
    answers = ask(load_skops(made / SKOPS), x)
    frame = pd.DataFrame(x, columns=list(FEATURES)).assign(iris_class=answers.classes)
    frame.to_csv(made / REFERENCE, index=False, lineterminator="\n")
    files = file_hashes(made)
    manifest = Manifest(
        name="sk_model",
        version=version,
        run_id="0" * 32,
        alias=None,
        downloaded_at=datetime.now(UTC),
        folder=f"{version}-{digest(files)[:12]}",
        files=files,
        verified=True,
        signature=[Column(name=name, type="double") for name in FEATURES],
        score_kind="decision_function",
        onnx_wanted=False,
        onnx=None,
        smoke=Smoke(
            rows=x[:3].tolist(),
            iris_class=answers.classes[:3].tolist(),
            scores=answers.scores[:3].tolist(),
        ),
        libraries={},
    )
    made.rename(model_dir / manifest.folder)
    write_manifest(model_dir, manifest)
    return manifest
