"""The model of this part, how well it does, and the picture of where it errs."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from part3.dataset import Split
from part3.iris import FEATURES, LABEL_NAMES, LABELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Scores:
    """What is logged as metrics; for each of them higher is better."""

    train_accuracy: float
    valid_accuracy: float
    valid_f1_macro: float

    def as_metrics(self) -> dict[str, float]:
        """Return metric name to value."""
        return asdict(self)


def features(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the four measurements in cm, the model's input."""
    return frame[list(FEATURES)]


def train(frame: "pd.DataFrame") -> "Pipeline":
    """Fit StandardScaler and SVC on the rows of `frame`."""
    from sklearn.pipeline import Pipeline  # scikit-learn takes a second
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC())])
    return pipeline.fit(features(frame), frame["target"])


def score(model: "Pipeline", data: Split) -> Scores:
    """Score `model` on both sides of the split."""
    from sklearn.metrics import accuracy_score, f1_score

    train_prediction = model.predict(features(data.train))
    valid_prediction = model.predict(features(data.valid))
    return Scores(
        train_accuracy=float(accuracy_score(data.train["target"], train_prediction)),
        valid_accuracy=float(accuracy_score(data.valid["target"], valid_prediction)),
        valid_f1_macro=float(f1_score(data.valid["target"], valid_prediction, average="macro")),
    )


def draw_confusion_matrix(model: "Pipeline", data: Split) -> "Figure":
    """Draw true label against predicted label for the validation rows."""
    # Figure alone, without pyplot: no window system is asked for, and it imports in half the time.
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(
        data.valid["target"], model.predict(features(data.valid)), labels=LABELS
    )
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="predicted", ylabel="true", title=f"{len(data.valid)} validation rows"
    )
    axes.imshow(matrix, cmap="Blues")
    axes.set_xticks(LABELS, LABEL_NAMES)
    axes.set_yticks(LABELS, LABEL_NAMES)
    for (true, predicted), count in (((i, j), matrix[i, j]) for i in range(3) for j in range(3)):
        color = "white" if count > matrix.max() / 2 else "black"
        axes.text(predicted, true, str(count), ha="center", va="center", color=color)
    return figure
