"""Train the same model as a scikit-learn Pipeline: scaler and classifier in one object.

uv run python -m part2.pipeline_train
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from typing import TYPE_CHECKING

from part2.command import DebugOption, run
from part2.options import CsvOption

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def pipeline_train(csv: CsvOption = None, debug: DebugOption = False) -> None:  # noqa: ARG001
    """Fit scaler and classifier as one pipeline, print how good it is."""
    from part2.dataset import load_dataset, split_rows
    from part2.evaluation import evaluate, print_accuracies

    split = split_rows(load_dataset(csv))
    print("Train Rows :", len(split.train_x))
    print("Valid Rows :", len(split.valid_x))
    model = make_pipeline().fit(split.train_x, split.train_y)
    print_accuracies(evaluate(model.predict, split))


def make_pipeline() -> "Pipeline":
    """Make the unfitted model of this part: StandardScaler, then SVC, with their defaults."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return Pipeline([("scaler", StandardScaler()), ("svc", SVC())])


if __name__ == "__main__":
    run(pipeline_train)
