"""Train the pipeline on the newest rows of the database.

uv run python -m part2.db_train
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from typing import TYPE_CHECKING

from part2.command import DebugOption, run
from part2.newest_rows import read_newest_rows
from part2.options import RowsOption
from part2.pipeline_train import make_pipeline
from part2.settings import load_settings

if TYPE_CHECKING:
    from part2.dataset import Dataset, Split


def db_train(rows: RowsOption = 1000, debug: DebugOption = False) -> None:  # noqa: ARG001
    """Fit the pipeline on the newest rows, no measurement on both sides of the split."""
    dataset = read_newest_rows(load_settings(), rows)

    from part2.dataset import split_measurements
    from part2.evaluation import evaluate, print_accuracies

    split = split_measurements(dataset)
    print_rows(dataset, split)
    model = make_pipeline().fit(split.train_x, split.train_y)
    print_accuracies(evaluate(model.predict, split))


def print_rows(dataset: "Dataset", split: "Split") -> None:
    """Print how many rows and different measurements there are, and how they were split."""
    print("Rows :", len(dataset.frame))
    print("Distinct Measurements :", dataset.measurements.nunique())
    print("Train Rows :", len(split.train_x))
    print("Valid Rows :", len(split.valid_x))


if __name__ == "__main__":
    run(db_train)
