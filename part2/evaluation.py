"""How good a model is on the rows it has seen and on those it has not."""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score

from part2.command import WorkFailedError
from part2.dataset import Split
from part2.iris import LABEL_NAMES, LABELS

# On a new machine it reports that it lists the fonts, which is news to nobody.
logging.getLogger("matplotlib").setLevel(logging.WARNING)

type Predict = Callable[[pd.DataFrame], NDArray[Any]]


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one model on both sides of a split, and their accuracies (0 to 1)."""

    train_predictions: NDArray[Any]
    valid_predictions: NDArray[Any]
    train_accuracy: float
    valid_accuracy: float


def evaluate(predict: Predict, split: Split) -> Evaluation:
    """Predict both sides of the split and score them."""
    train, valid = predict(split.train_x), predict(split.valid_x)
    return Evaluation(
        train,
        valid,
        float(accuracy_score(split.train_y, train)),
        float(accuracy_score(split.valid_y, valid)),
    )


def print_accuracies(evaluation: Evaluation) -> None:
    """Print both accuracies the way the course always has."""
    print("Train Accuracy :", evaluation.train_accuracy)
    print("Valid Accuracy :", evaluation.valid_accuracy)


def confirm_same(saved: Evaluation, loaded: Evaluation) -> None:
    """Print whether the loaded model is as good as the one that was saved.

    Raises:
        WorkFailedError: the loaded model predicts something else.
    """
    print("Load Model Train Accuracy is same?", saved.train_accuracy == loaded.train_accuracy)
    print("Load Model Valid Accuracy is same?", saved.valid_accuracy == loaded.valid_accuracy)
    # Equal accuracies can hide two different mistakes; the predictions cannot.
    if not (
        np.array_equal(saved.train_predictions, loaded.train_predictions)
        and np.array_equal(saved.valid_predictions, loaded.valid_predictions)
    ):
        raise WorkFailedError(
            "the loaded model predicts something else than the one that was saved"
        )


def confusion_matrix_png(evaluation: Evaluation, split: Split) -> bytes:
    """Draw which species the model takes for which, on the validation rows."""
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        split.valid_y,
        evaluation.valid_predictions,
        labels=LABELS,
        display_labels=LABEL_NAMES,
        cmap="Blues",
        colorbar=False,
        ax=axes,
    )
    axes.set_title(f"validation rows, accuracy {evaluation.valid_accuracy:.3f}")
    return png(figure)


def png(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
