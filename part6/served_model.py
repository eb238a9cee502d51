"""The model that answers: loaded from the model folder, proved, and from then on unchangeable."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from part6.command import WorkFailedError
from part6.estimator import Answers, ask, load_skops
from part6.iris import FEATURES
from part6.manifest import ONNX, SKOPS, Manifest, check_files, read_manifest
from part6.onnx_model import TOLERANCE, ask_session, open_session

Runtime = Literal["onnxruntime", "scikit-learn"]


@dataclass(frozen=True)
class ServedModel:
    """One version of a model; a request holds on to it, so that no answer mixes two versions."""

    manifest: Manifest
    runtime: Runtime
    predict: Callable[[NDArray[np.float64]], Answers]  # rows (n, 4) in cm


def load_served_model(model_dir: Path) -> ServedModel:
    """Load the model that the manifest in `model_dir` names.

    Raises:
        WorkFailedError: there is none, a file is missing or changed, the model wants other
            columns, or it does not give the answers it gave when it was downloaded.
    """
    manifest = read_manifest(model_dir)
    folder = check_files(model_dir, manifest)
    try:
        return open_served_model(manifest, folder)
    except WorkFailedError as exc:
        raise WorkFailedError(f"{exc}; {manifest.again}") from exc
    except OSError as exc:  # another download is taking the files away
        raise WorkFailedError(
            f"{exc.filename or folder}: {exc.strerror}; {manifest.again}"
        ) from exc


def open_served_model(manifest: Manifest, folder: Path) -> ServedModel:
    """Open the files in `folder` as the server does, and prove that they answer as `manifest` says.

    Raises:
        WorkFailedError: they do not.
        OSError: they cannot be read.
    """
    if [column.name for column in manifest.signature] != list(FEATURES):
        raise WorkFailedError(
            f"the model in {folder} wants other columns than {', '.join(FEATURES)}"
        )
    if manifest.onnx is not None:
        file = folder / ONNX
        try:
            session = open_session(file.read_bytes())
        except WorkFailedError as exc:
            raise WorkFailedError(f"{file}: {exc}") from exc
        model = ServedModel(manifest, "onnxruntime", lambda rows: ask_session(session, rows))
    else:
        estimator = load_skops(folder / SKOPS)
        model = ServedModel(manifest, "scikit-learn", lambda rows: ask(estimator, rows))
    _prove(model)
    return model


def _prove(model: ServedModel) -> None:
    """Raise WorkFailedError unless the model repeats the answers that its manifest holds."""
    smoke = model.manifest.smoke
    try:
        answers = model.predict(np.array(smoke.rows))
        same = answers.classes.tolist() == smoke.iris_class and np.allclose(
            answers.scores, smoke.scores, rtol=0, atol=TOLERANCE
        )
    # A model that another version of its library wrote may lack whatever this one asks for.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as exc:
        raise WorkFailedError(
            f"version {model.manifest.version} of {model.manifest.name!r} cannot answer with "
            f"{model.runtime} ({type(exc).__name__}: {exc})"
        ) from exc
    if not same:
        raise WorkFailedError(
            f"version {model.manifest.version} of {model.manifest.name!r} does not give the "
            f"answers it gave when it was downloaded (with {model.runtime})"
        )
