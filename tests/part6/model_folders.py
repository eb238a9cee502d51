"""A model folder as download_model leaves it, made without a registry."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from part6.file_hashes import digest
from part6.iris import FEATURES
from part6.manifest import INCOMING, SKOPS, Column, Manifest
from part6.model_folder import lay_out, put_in_place
from part6.seed_database import draw


def flowers(seed: int, first: int, last: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Measurements (n, 4) in cm and species (n,) of the rows `first` to `last` of a stream."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    drawn = draw(seed, first, last)
    return x[drawn], y[drawn]


def make_model_folder(model_dir: Path, version: int = 1, rows: int = 1000) -> Manifest:
    """Train on the first `rows` rows of the course's stream and put the model into place."""
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x, y = flowers(2022, 1, rows)
    model = make_pipeline(StandardScaler(), SVC()).fit(x, y)
    return put_in(model_dir, skops.io.dumps(model), x, version, onnx=False)


def put_in(
    model_dir: Path,
    model: bytes,
    rows: NDArray[np.float64],
    version: int,
    *,
    onnx: bool,
    alias: str | None = None,
) -> Manifest:
    """Make a model the one in `model_dir`, as download_model does, but without a registry."""
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model_dir, prefix=INCOMING) as incoming:
        file = Path(incoming, SKOPS)
        file.write_bytes(model)
        contents = lay_out(Path(incoming, "model"), file, rows, onnx=onnx)
        manifest = Manifest(
            name="sk_model",
            version=version,
            run_id="0" * 32,
            alias=alias,
            downloaded_at=datetime.now(UTC),
            folder=f"{version}-{digest(contents.files)[:12]}",
            verified=True,
            signature=[Column(name=name, type="double") for name in FEATURES],
            onnx_wanted=onnx,
            **contents._asdict(),
        )
        put_in_place(model_dir, Path(incoming, "model"), manifest)
    return manifest
