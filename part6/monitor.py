"""Compare what the served model is asked with what it was trained on; exit 1 on drift.

uv run python -m part6.monitor
uv run python -m part6.monitor --every 30 --metrics-port 9108
"""
# NumPy, SciPy and Matplotlib take seconds to import: functions import what needs them, so that
# --help does not wait.

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from part6.command import BadUsageError, DebugOption, WorkFailedError, run
from part6.options import positive, probability
from part6.settings import load_settings

if TYPE_CHECKING:
    from part6.drift_check import Check

log = logging.getLogger(__name__)


def monitor(
    window: Annotated[
        int,
        typer.Option(help="Predictions in a window; with few, chance looks like drift.", min=50),
    ] = 300,
    windows: Annotated[
        int, typer.Option(help="Windows in a row that must drift.", min=1, max=100)
    ] = 3,
    psi: Annotated[
        float, typer.Option(help="A window drifts from this PSI on ...", callback=positive)
    ] = 0.2,
    p_value: Annotated[
        float, typer.Option(help="... if chance makes it less often.", callback=probability)
    ] = 0.01,
    output: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path(
        "artifacts/part6/monitor"
    ),
    every: Annotated[
        float | None,
        typer.Option(help="Go on, and check again after this many seconds.", callback=positive),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve the gauges here; needs --every.", min=1, max=65535)
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address to serve them at; 0.0.0.0 for other machines.")
    ] = "127.0.0.1",
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Look for drift in the newest predictions of the model in MODEL_DIR.

    Writes report.html, report.json and metrics.prom. Exit status 1 when each of the newest windows
    drifts; with --every drift is logged and the process goes on.
    """
    if metrics_port is not None and every is None:
        raise BadUsageError("--metrics-port without --every would serve nobody; add --every 30")
    settings = load_settings()
    from part6.drift import Limits
    from part6.drift_check import check_drift
    from part6.drift_metrics import set_gauges
    from part6.drift_report import HTML, write_report

    limits = Limits(window, windows, psi, p_value)

    def check() -> "Check":
        compared = check_drift(settings, limits)
        set_gauges(compared.check)
        write_report(compared, output)
        return compared.check

    if every is not None:
        if metrics_port is not None:
            _serve_metrics(metrics_host, metrics_port)
        _watch(check, every)
        return
    found = check()
    print_check(found)
    print(f"report: {output / HTML}")
    if found.verdict == "drift":
        raise WorkFailedError(found.sentence)
    print(found.sentence)


def _watch(check: "Callable[[], Check]", every: float) -> None:
    """Check until stopped; log a verdict when it is another one than before."""
    from part6.repeat import repeat

    before: tuple[int, str] | None = None

    def tick() -> None:
        nonlocal before
        found = check()
        model = f"{found.model_name} version {found.model_version}"
        verdict = (found.model_version, found.verdict)
        if verdict != before:
            # Another version has drifted from nothing yet.
            ended = found.verdict == "no drift" and before == (found.model_version, "drift")
            log.info("%s: %s%s", model, "the drift has ended, " if ended else "", found.sentence)
        before = verdict

    repeat(tick, every)


def _serve_metrics(host: str, port: int) -> None:
    from prometheus_client import start_http_server

    from part6.drift_metrics import REGISTRY

    try:
        start_http_server(port, host, registry=REGISTRY)
    except OSError as exc:
        raise WorkFailedError(
            f"{host}:{port}: {exc.strerror}; choose another --metrics-host or --metrics-port"
        ) from exc
    log.info("gauges at http://%s:%d/metrics", host, port)


def print_check(check: "Check") -> None:
    """Print what was compared, and a line for each column."""
    from rich.console import Console
    from rich.table import Table

    from part6.drift_report import facts, verdict_of

    print(f"{check.model_name} version {check.model_version}")
    for name, value in facts(check).items():
        print(f"  {name:<13}  {value}")
    if not check.windows_begin:
        return
    table = Table()
    table.add_column("column", no_wrap=True)
    shown = check.windows_begin[-5:]  # more do not fit; the report has them all
    full = len(check.windows_begin)
    for i in range(full - len(shown), full):
        table.add_column(f"PSI {i + 1}", justify="right", no_wrap=True)
    for name in ("distance", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for each in check.columns:
        newest = each.windows[-1]
        sizes = [
            f"[red]{shift.psi:.3f}[/]" if shift.drifts else f"{shift.psi:.3f}"
            for shift in each.windows[-len(shown) :]
        ]
        word = verdict_of(each, check)
        verdict = f"[bold red]{word}[/]" if word == "drift" else word
        table.add_row(
            each.column, *sizes, f"{newest.distance:.3f}", f"{newest.p_value:.2g}", verdict
        )
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file has no edge to fold the lines at
    console.print(table)


if __name__ == "__main__":
    run(monitor)
