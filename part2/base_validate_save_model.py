"""Train scaler and classifier by hand, save both, and show that the loaded pair agrees.

uv run python -m part2.base_validate_save_model
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

from pathlib import Path

from part2.base_train import fit_by_hand, predict_with
from part2.command import DebugOption, run
from part2.options import CsvOption, OutputOption


def base_validate_save_model(
    csv: CsvOption = None,
    output: OutputOption = Path("artifacts/part2/base"),
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Train by hand, print the accuracies, save scaler and classifier, load and compare."""
    from part2.artifacts import Training, load_model, save_training
    from part2.dataset import load_dataset, split_rows
    from part2.evaluation import confirm_same, evaluate, print_accuracies

    dataset = load_dataset(csv)
    split = split_rows(dataset)
    scaler, classifier = fit_by_hand(split)
    evaluation = evaluate(predict_with(scaler, classifier), split)
    print_accuracies(evaluation)

    models = {"scaler": scaler, "classifier": classifier}
    save_training(Training(dataset, split, models, evaluation), output)
    loaded = predict_with(load_model(output, "scaler"), load_model(output, "classifier"))
    confirm_same(evaluation, evaluate(loaded, split))
    print("Saved in", output)


if __name__ == "__main__":
    run(base_validate_save_model)
