"""Search for better hyper-parameters than the defaults, on all cores or on a Dask cluster.

uv run python -m part2.search_train --candidates 40
uv run python -m part2.search_train --dask
uv run python -m part2.search_train --dask tcp://127.0.0.1:8786
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from part2.command import BadUsageError, DebugOption, run
from part2.newest_rows import read_newest_rows
from part2.options import OutputOption, RowsOption
from part2.settings import load_settings

if TYPE_CHECKING:
    from part2.dataset import Dataset, Split
    from part2.search import SearchResult


def search_train(
    address: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="With --dask: the scheduler, tcp://HOST:PORT."),
    ] = None,
    dask: Annotated[
        bool, typer.Option("--dask", help="Search on Dask: at ADDRESS, or a cluster started here.")
    ] = False,
    source: Annotated[
        Literal["iris", "db"], typer.Option(help="scikit-learn's iris, or the newest rows.")
    ] = "iris",
    rows: RowsOption = 1000,
    candidates: Annotated[
        int, typer.Option(min=2, help="Settings to try, the defaults among them.")
    ] = 40,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Fits at a time, or workers started here (default: all cores)."),
    ] = None,
    output: OutputOption = Path("artifacts/part2/search"),
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Try settings drawn at random, print a ranked table, save the best model."""
    if address is not None and not dask:
        raise BadUsageError(f"unexpected argument {address!r}; a scheduler follows --dask")
    if address is not None and jobs is not None:
        raise BadUsageError("--jobs has no effect on a cluster elsewhere; leave it out")
    # Like Ctrl-C, so that the context managers below stop the workers that were started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load_settings()
    dataset = read_newest_rows(settings, rows) if source == "db" else None

    from part2.artifacts import Training, save_training
    from part2.dataset import load_dataset, split_measurements
    from part2.evaluation import evaluate, print_accuracies
    from part2.search import search_png

    dataset = dataset or load_dataset(None)
    split = split_measurements(dataset)
    with ExitStack() as stack:
        if dask:
            from part2.cluster import dask_cluster

            stack.enter_context(dask_cluster(address, jobs))
        result = _search_with_progress(dataset, split, candidates, folds, jobs)

    _print_best(result)
    evaluation = evaluate(result.best.predict, split)
    print_accuracies(evaluation)
    extras = {
        "search_results.csv": result.table.to_csv(lineterminator="\n").encode(),
        "search.png": search_png(result),
    }
    save_training(Training(dataset, split, {"model": result.best}, evaluation, extras), output)
    print("Saved in", output)


def _search_with_progress(
    dataset: "Dataset", split: "Split", candidates: int, folds: int, jobs: int | None
) -> "SearchResult":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from part2.search import draw_candidates, search

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("fits", total=candidates * folds)
        drawn = draw_candidates(candidates)
        return search(dataset, split, drawn, folds, jobs, lambda: progress.advance(task))


def _print_best(result: "SearchResult") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("rank", "candidate", "kernel", "C", "gamma", "accuracy", "spread")
    ranked = result.table.reset_index().to_dict("records")
    for rank, row in enumerate(ranked, start=1):
        # The ten best, and the defaults wherever they stand: they are what the search must beat.
        if rank <= 10 or row["candidate"] == 1:
            gamma = row["gamma"] if row["kernel"] == "rbf" else ""
            table.add_row(
                str(rank),
                "defaults" if row["candidate"] == 1 else str(row["candidate"]),
                row["kernel"],
                f"{row['C']:.3g}",
                gamma if isinstance(gamma, str) else f"{gamma:.3g}",
                f"{row['accuracy']:.4f}",
                f"{row['spread']:.4f}",
            )
    Console().print(table)


if __name__ == "__main__":
    run(search_train)
