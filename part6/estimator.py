"""The scikit-learn model: loaded from skops without running foreign code, and asked for answers."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from part6.command import WorkFailedError
from part6.iris import FEATURES, LABELS
from part6.manifest import ScoreKind

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


# What skops, zipfile and NumPy raise for files with some bytes changed; found by changing them.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Answers(NamedTuple):
    """What a model says of n rows: classes (n,), and scores (n, 3) in the order of LABELS."""

    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


def load_skops(file: Path) -> "Pipeline":
    """Load a model that consists of scikit-learn's own types, and nothing else.

    A pickle runs whatever its author wrote, at the moment it is opened. A skops file lists its
    types, and one that is not on the list of scikit-learn's harmless types is refused here.

    Raises:
        WorkFailedError: the file is broken, or asks to trust more.
    """
    from skops.io import load
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        model = load(file, trusted=[])
    except UntrustedTypesFoundException as exc:
        reason = str(exc).strip().splitlines()[0]
        raise WorkFailedError(
            f"{file} was not loaded, it could run foreign code: {reason}"
        ) from exc
    except _BROKEN as exc:
        reason = f"{type(exc).__name__}: {exc}".splitlines()[0]
        raise WorkFailedError(f"{file} is no skops file, or a broken one ({reason})") from exc
    classes = np.asarray(getattr(model, "classes_", []))
    if classes.dtype.kind not in "iu" or classes.tolist() != list(LABELS):
        raise WorkFailedError(
            f"{file} holds no classifier of the classes {LABELS}, as whole numbers"
        )
    _forget_names(model)
    return model


def score_kind(model: "Pipeline") -> ScoreKind:
    """Whether the model gives probabilities or only distances to its boundaries."""
    return "probability" if hasattr(model, "predict_proba") else "decision_function"


def ask(model: "Pipeline", rows: NDArray[np.float64]) -> Answers:
    """Predict `rows` (n, 4) in cm, columns in the order of FEATURES."""
    scores = model.predict_proba if score_kind(model) == "probability" else model.decision_function
    return Answers(model.predict(rows), scores(rows))


def try_out(model: "Pipeline", rows: NDArray[np.float64]) -> Answers:
    """Predict `rows` (n, 4) with a model that nobody has asked before.

    Raises:
        WorkFailedError: it takes other rows than these, or gives other answers than a class and
            a score for each of the three.
    """
    try:
        answers = ask(model, rows)
    except (AttributeError, TypeError, ValueError) as exc:
        reason = str(exc).splitlines()[0]
        raise WorkFailedError(f"the model cannot answer for rows of {FEATURES}: {reason}") from exc
    if answers.scores.shape != (len(rows), len(LABELS)) or not np.isfinite(answers.scores).all():
        raise WorkFailedError("the model does not give one finite score per row and class")
    return answers


def _forget_names(model: "Pipeline") -> None:
    """Let the model take bare arrays: the columns were compared with its signature already."""
    for step in (model, *getattr(model, "named_steps", {}).values()):
        if "feature_names_in_" in getattr(step, "__dict__", {}):  # "passthrough" is a step, too
            del step.feature_names_in_
