"""The lesson on why batches matter: the same rows inserted in six ways, and how long each takes.

uv run python -m part1.insert_methods
uv run python -m part1.insert_methods --rows 100000 --plot artifacts/part1/insert_methods.png
"""

import signal
import statistics
from pathlib import Path
from typing import Annotated

import typer

from part1.command import BadUsageError, DebugOption, WorkFailedError, run
from part1.settings import load_settings

# A method that is done in a blink is repeated, and the median counts.
REPEATS = 5
ENOUGH_SECONDS = 1.0


def compare(
    rows: Annotated[int, typer.Option(help="Insert this many rows.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Which stream the rows are of.", min=0)] = 2022,
    plot: Annotated[Path, typer.Option(help="The picture; a PNG file.")] = Path(
        "artifacts/part1/insert_methods.png"
    ),
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Insert the same rows in six ways and compare.

    Each way has a fresh table of its own, with the constraints and the index of iris_data, in a
    schema that is dropped in the end. Your own iris_data is not touched.
    """
    if plot.suffix != ".png":
        raise BadUsageError(f"--plot is {plot}: give it the ending .png")
    settings = load_settings()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as after Ctrl-C
    from rich.console import Console
    from rich.progress import Progress

    from part1.insertion import METHODS, draw_rows, scratch

    speeds: dict[str, float] = {}
    contents = set()
    with (
        scratch(settings) as place,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("drawing rows", total=len(METHODS))
        drawn = draw_rows(rows, seed)
        for method in METHODS:
            progress.update(task, description=method)
            times: list[float] = []
            while not times or (len(times) < REPEATS and sum(times) < ENOUGH_SECONDS):
                seconds, held = place.measure(method, drawn)
                times.append(seconds)
                contents.add(held)
            speeds[method] = rows / statistics.median(times)
            progress.advance(task)
    if len(contents) != 1:
        raise WorkFailedError(
            f"the methods did not write the same rows (rows and hash: {sorted(contents)}); "
            "please report this"
        )
    print_table(rows, speeds)
    save_plot(rows, speeds, plot)
    print(f"plot saved to {plot}")


def print_table(rows: int, speeds: dict[str, float]) -> None:
    """Print rows per second and the ratio to the first method."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{rows:,} rows, all methods wrote the same")
    table.add_column("method")
    table.add_column("rows/s", justify="right")
    table.add_column("times as fast", justify="right")
    slowest = next(iter(speeds.values()))
    for method, speed in speeds.items():
        table.add_row(method, f"{speed:,.0f}", f"{speed / slowest:,.1f}")
    Console().print(table)


def save_plot(rows: int, speeds: dict[str, float], file: Path) -> None:
    """Draw the speeds as bars on a logarithmic axis.

    Raises:
        WorkFailedError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    bars = axes.barh(list(speeds), list(speeds.values()), color="#4878a8")
    axes.bar_label(bars, [f"{speed:,.0f}" for speed in speeds.values()], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(min(speeds.values()) / 3, max(speeds.values()) * 4)
    axes.invert_yaxis()
    axes.set_xlabel("rows per second (logarithmic)")
    axes.set_title(f"Inserting {rows:,} rows into PostgreSQL")
    axes.spines[["top", "right"]].set_visible(False)
    beside = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(beside, format="png", dpi=150)
        beside.replace(file)
    except OSError as exc:
        raise WorkFailedError(f"{file} cannot be written ({exc.strerror}); choose --plot") from exc
    finally:
        plt.close(figure)


if __name__ == "__main__":
    run(compare)
