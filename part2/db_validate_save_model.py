"""Train the pipeline on the newest rows of the database, save it, and show that it loads.

uv run python -m part2.db_validate_save_model
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from part2.command import DebugOption, run
from part2.db_train import print_rows
from part2.newest_rows import read_newest_rows
from part2.options import OutputOption, RowsOption
from part2.pipeline_train import make_pipeline
from part2.repeat import repeat
from part2.settings import Settings, load_settings

EveryOption = Annotated[
    float | None, typer.Option(min=1, help="Train again this many seconds later, and so on.")
]


def db_validate_save_model(
    rows: RowsOption = 1000,
    output: OutputOption = Path("artifacts/part2/db"),
    every: EveryOption = None,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Train on the newest rows, print the accuracies, save the pipeline, load it and compare."""
    job = partial(train_and_save, load_settings(), rows, output)
    if every is None:
        job()
    else:
        repeat(job, every)


def train_and_save(settings: Settings, rows: int, output: Path) -> None:
    """Train once and replace what is in `output`."""
    dataset = read_newest_rows(settings, rows)

    from part2.artifacts import Training, load_model, save_training
    from part2.dataset import split_measurements
    from part2.evaluation import confirm_same, evaluate, print_accuracies

    split = split_measurements(dataset)
    print_rows(dataset, split)
    model = make_pipeline().fit(split.train_x, split.train_y)
    evaluation = evaluate(model.predict, split)
    print_accuracies(evaluation)

    save_training(Training(dataset, split, {"model": model}, evaluation), output)
    confirm_same(evaluation, evaluate(load_model(output, "model").predict, split))
    print("Saved in", output, flush=True)


if __name__ == "__main__":
    run(db_validate_save_model)
