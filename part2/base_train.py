"""Train a scaler and a classifier by hand, two steps that always have to go together.

uv run python -m part2.base_train
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from typing import TYPE_CHECKING

from part2.command import DebugOption, run
from part2.options import CsvOption

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from part2.dataset import Split
    from part2.evaluation import Predict


def base_train(csv: CsvOption = None, debug: DebugOption = False) -> None:  # noqa: ARG001
    """Scale the features, fit a support vector classifier, print how good it is."""
    from part2.dataset import load_dataset, split_rows
    from part2.evaluation import evaluate, print_accuracies

    split = split_rows(load_dataset(csv))
    print("Train Rows :", len(split.train_x))
    print("Valid Rows :", len(split.valid_x))
    print_accuracies(evaluate(predict_with(*fit_by_hand(split)), split))


def fit_by_hand(split: "Split") -> "tuple[StandardScaler, SVC]":
    """Fit the scaler on the training features and the classifier on the scaled ones."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    scaler = StandardScaler()
    classifier = SVC()
    classifier.fit(scaler.fit_transform(split.train_x), split.train_y)
    return scaler, classifier


def predict_with(scaler: "StandardScaler", classifier: "SVC") -> "Predict":
    """Join the two steps; who forgets the first gets a classifier that is quietly wrong."""
    return lambda features: classifier.predict(scaler.transform(features))


if __name__ == "__main__":
    run(base_train)
