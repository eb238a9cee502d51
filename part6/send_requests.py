"""Ask the model API for predictions of rows from the database, at a steady rate.

uv run python -m part6.send_requests
uv run python -m part6.send_requests --seconds 30 --rate 100 --drift 1
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from part6.command import BadUsageError, DebugOption, WorkFailedError, run
from part6.iris import FEATURES, MAX_CM
from part6.options import positive
from part6.settings import load_settings

if TYPE_CHECKING:
    from part6.request_load import Request, Tally

POOL = 1000  # of the newest rows
SWAP_SECONDS = 120
DRIFTING = ("sepal_length", "petal_length")
START = "start it with `uv run uvicorn part6.app:app --port 8000 --timeout-graceful-shutdown 15`"

type Row = tuple[dict[str, float], int]  # measurements in cm, and the true class


def send_requests(
    count: Annotated[
        int | None, typer.Option(help="Requests to send (default: 600).", min=1)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Instead of --count: how long.", callback=positive)
    ] = None,
    until_swap: Annotated[
        bool,
        typer.Option(
            "--until-swap", help=f"Until another version answers, {SWAP_SECONDS} s at the most."
        ),
    ] = False,
    rate: Annotated[
        float,
        typer.Option(help="Requests per second, however slow the answers.", callback=positive),
    ] = 50.0,
    connections: Annotated[
        int, typer.Option(help="Requests that may be under way at a time.", min=1, max=1000)
    ] = 4,
    drift: Annotated[
        float,
        typer.Option(
            help="Add this many cm to sepal_length and petal_length; what would leave 0.1 to "
            f"{MAX_CM:g} cm stops there.",
            min=-MAX_CM,
            max=MAX_CM,
        ),
    ] = 0.0,
    batch: Annotated[
        int | None,
        typer.Option(help="Rows per request, to /predict/batch (default: 1 to /predict).", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which rows; the same seed, the same.", min=0)] = 2022,
    wait_seconds: Annotated[
        float, typer.Option(help="How long to wait for a server.", callback=positive)
    ] = 10.0,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Draw from the newest rows of table iris_data and post them to MODEL_API_URL.

    Exit status 1 when a request was not answered with 200.
    """
    if (count is not None) + (seconds is not None) + until_swap > 1:
        raise BadUsageError(
            "--count, --seconds and --until-swap exclude each other; give one of them"
        )
    settings = load_settings()
    if until_swap:
        seconds = SWAP_SECONDS
    total = count or (math.ceil(seconds * rate) if seconds else 600)
    import asyncio

    from part6.newest_rows import newest_rows
    from part6.request_load import Target, send_all

    rows = [
        ({name: float(row[name]) for name in FEATURES}, int(row["target"]))
        for row in (found._mapping for found in newest_rows(settings, POOL))
    ]
    if not rows:
        raise WorkFailedError(
            "table iris_data is empty; fill it with `uv run python -m part6.seed_database`"
        )
    rows = [(shifted(measured, drift), label) for measured, label in rows]
    path = "/predict" if batch is None else "/predict/batch"
    url = settings.model_api_url.rstrip("/")
    target = Target(url, path, rate, connections, wait_seconds, until_swap)
    with _progress(None if until_swap else total) as advance:
        requests = islice(draw(rows, seed, batch), total)
        tally = asyncio.run(send_all(target, requests, advance))
    if tally.answers or not tally.gone:
        print_tally(tally, rate)
    if tally.gone:
        raise WorkFailedError(f"no model API at {target.url} after {wait_seconds:g} s; {START}")
    if failed := tally.answers.total() - tally.answers["200"]:
        detail = f"; the first: {tally.refusal}" if tally.refusal else ""
        raise WorkFailedError(
            f"{failed:,} of {tally.answers.total():,} requests were not answered with 200{detail}"
        )
    if until_swap and len(tally.versions) < 2 and tally.answers.total() == total:
        raise WorkFailedError(
            f"no other version answered within {SWAP_SECONDS} s; the API follows the alias by "
            "itself only when it was started with MODEL_WATCH_SECONDS above 0"
        )


def shifted(measured: dict[str, float], drift: float) -> dict[str, float]:
    """Return a flower (cm) whose sepal and petal are `drift` cm longer, within what is valid."""
    if not drift:
        return measured
    # Rounded, because 1.4 + 0.2 is 1.5999999999999999 and nobody's ruler says so.
    return measured | {
        name: round(min(max(measured[name] + drift, 0.1), MAX_CM), 3) for name in DRIFTING
    }


def draw(rows: Sequence[Row], seed: int, batch: int | None) -> Iterator["Request"]:
    """Draw requests of `batch` rows each (None: of one, without a list) without an end."""
    from part6.request_load import Request

    generator = random.Random(seed)  # noqa: S311 - a draw, not a secret
    while True:
        drawn = generator.choices(rows, k=batch or 1)
        measured = [row for row, _ in drawn]
        content = measured[0] if batch is None else {"rows": measured}
        yield Request(json.dumps(content).encode(), [label for _, label in drawn])


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; give what moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("requests"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal  # would leave an empty line in a file
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("", total=total)
        yield lambda: progress.advance(bar)


def print_tally(tally: "Tally", rate: float) -> None:
    """Print what was sent and what came back."""
    sent = tally.answers.total()
    achieved = sent / (tally.sent_seconds + 1 / rate)
    print(f"sent      {sent:,} requests, {achieved:.4g} per second of {rate:g} asked for")
    if not sent:
        return
    print("answers   " + ", ".join(f"{what}: {n:,}" for what, n in tally.answers.items()))
    if tally.retried:
        print(f"retried   {tally.retried:,} times, because the server had closed the connection")
    if tally.versions:
        versions = ", ".join(f"version {v}: {n:,}" for v, n in tally.versions.items())
        print(f"rows      {versions}")
        print(f"accuracy  {tally.correct / tally.predicted:.3f} against the labels of the rows")
    latencies = sorted(tally.latencies)
    shown = ", ".join(
        f"p{q} {1000 * latencies[math.ceil(q / 100 * sent) - 1]:.1f} ms" for q in (50, 95, 99)
    )
    print(f"latency   {shown}, each from when its request was due")
    if tally.behind_seconds > max(0.25, 0.05 * sent / rate):
        print(
            f"behind    {tally.behind_seconds:.1f} s at the end: the rate cannot be kept; more "
            "--connections, a lower --rate or a larger --batch may help"
        )


if __name__ == "__main__":
    run(send_requests)
