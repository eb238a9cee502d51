"""Train the pipeline, save it, and show that the loaded one agrees.

uv run python -m part2.pipeline_validate_save_model
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from pathlib import Path

from part2.command import DebugOption, run
from part2.options import CsvOption, OutputOption
from part2.pipeline_train import make_pipeline


def pipeline_validate_save_model(
    csv: CsvOption = None,
    output: OutputOption = Path("artifacts/part2/pipeline"),
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Train the pipeline, print the accuracies, save it, load it and compare."""
    from part2.artifacts import Training, load_model, save_training
    from part2.dataset import load_dataset, split_rows
    from part2.evaluation import confirm_same, evaluate, print_accuracies

    dataset = load_dataset(csv)
    split = split_rows(dataset)
    model = make_pipeline().fit(split.train_x, split.train_y)
    evaluation = evaluate(model.predict, split)
    print_accuracies(evaluation)

    save_training(Training(dataset, split, {"model": model}, evaluation), output)
    confirm_same(evaluation, evaluate(load_model(output, "model").predict, split))
    print("Saved in", output)


if __name__ == "__main__":
    run(pipeline_validate_save_model)
