"""The scikit-learn model: loaded from skops without running foreign code, and asked for answers."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from part6.command import WorkFailedError
from part6.iris import LABELS
from part6.manifest import ScoreKind

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


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
    import zipfile

    from skops.io import load
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        model = load(file, trusted=[])
    except UntrustedTypesFoundException as exc:
        raise WorkFailedError(f"{file} was not loaded, it could run foreign code: {exc}") from exc
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as exc:
        raise WorkFailedError(f"{file} is no skops file, or a broken one ({exc})") from exc
    if list(getattr(model, "classes_", [])) != list(LABELS):
        raise WorkFailedError(f"{file} holds no classifier of the classes {LABELS}")
    _forget_names(model)
    return model


def score_kind(model: "Pipeline") -> ScoreKind:
    """Whether the model gives probabilities or only distances to its boundaries."""
    return "probability" if hasattr(model, "predict_proba") else "decision_function"


def ask(model: "Pipeline", rows: NDArray[np.float64]) -> Answers:
    """Predict `rows` (n, 4) in cm, columns in the order of FEATURES."""
    scores = model.predict_proba if score_kind(model) == "probability" else model.decision_function
    return Answers(model.predict(rows), scores(rows))


def _forget_names(model: "Pipeline") -> None:
    """Let the model take bare arrays: the columns were compared with its signature already."""
    for step in (model, *getattr(model, "named_steps", {}).values()):
        if "feature_names_in_" in vars(step):
            del step.feature_names_in_
