"""Write the drift report: a page for people, JSON for programs, gauges for Prometheus."""

import base64
import json
import os
import tempfile
from dataclasses import asdict
from datetime import datetime
from html import escape
from pathlib import Path

from prometheus_client import generate_latest

from part6.command import WorkFailedError
from part6.drift import BINS, ColumnDrift, Shift
from part6.drift_check import Check, Compared
from part6.drift_metrics import REGISTRY
from part6.drift_plots import plot_distributions, plot_psi

HTML = "report.html"
JSON = "report.json"
PROM = "metrics.prom"

COLORS = {"drift": "#b00020", "no drift": "#1b6e33", "not enough yet": "#5a5a5a"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.verdict { color: #fff; font-size: 1.15rem; padding: .8rem 1rem; border-radius: .4rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .9rem .3rem 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.over { color: #b00020; font-weight: bold; }
img { max-width: 100%; height: auto; }
"""


def write_report(compared: Compared, folder: Path) -> None:
    """Write report.html, report.json and metrics.prom into `folder`; set the gauges before.

    Raises:
        WorkFailedError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / HTML, _page(compared).encode())
        _write(folder / JSON, as_json(compared.check).encode())
        _write(folder / PROM, generate_latest(REGISTRY))
    except OSError as exc:
        where = exc.filename or folder
        raise WorkFailedError(f"{where}: {exc.strerror}; choose another --output") from exc


def as_json(check: Check) -> str:
    """Return the check as one JSON document, times in ISO 8601."""
    return json.dumps(asdict(check), indent=2, default=datetime.isoformat, allow_nan=False) + "\n"


def _write(file: Path, content: bytes) -> None:
    """Replace `file` in one step: nobody reads half a report."""
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "wb") as written:
            written.write(content)
        Path(beside).chmod(0o644)
        Path(beside).replace(file)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def _page(compared: Compared) -> str:
    check = compared.check
    model = f"{escape(check.model_name)} version {check.model_version}"
    plots = ""
    if check.predictions:
        png = plot_distributions(compared.reference, compared.newest)
        plots += "<h2>What the model was trained with, and what it is asked now</h2>\n"
        plots += _image(png, "Histograms of each column: training rows and newest predictions")
    if check.windows_begin:
        plots += "<h2>From window to window</h2>\n"
        plots += _image(plot_psi(check), "PSI of each column in each window, with the limit")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Drift of {model}: {check.verdict}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Drift of {model}</h1>
<p class="verdict" style="background: {COLORS[check.verdict]}">{escape(check.sentence)}</p>
<table>
{"".join(_fact(name, value) for name, value in facts(check).items())}</table>
<h2>Column by column</h2>
{_columns(check)}
<p>PSI says how far a column has moved: 0 is not at all, and chance alone makes about
{check.chance_psi:.3f} with this many rows in {BINS} bins. The distance is Kolmogorov and Smirnov's
D, for the class the total variation; p is how likely chance alone makes such a distance, multiplied
by the number of columns. A window drifts when its PSI reaches {check.limits.psi:g} <em>and</em> p
is below {check.limits.p_value:g}; drift is called when a column does so in {check.limits.windows}
windows in a row.</p>
{plots}</body>
</html>
"""


def facts(check: Check) -> dict[str, str]:
    """Return what was compared, as pairs for a reader."""
    pairs = {
        "checked": f"{check.checked_at:%Y-%m-%d %H:%M:%S} UTC",
        "training rows": f"{check.reference_rows:,}",
        "predictions": f"{check.predictions:,} of {check.needed:,} "
        f"({check.limits.windows} windows of {check.limits.window:,})",
    }
    if check.left_out:
        pairs["left out"] = ", ".join(
            f"{rows:,} of version {version}" for version, rows in check.left_out.items()
        )
    if check.first_at and check.last_at:
        pairs["time span"] = (
            f"{check.first_at:%Y-%m-%d %H:%M:%S} to {check.last_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if check.latency_ms_mean is not None:
        pairs["model latency"] = (
            f"mean {check.latency_ms_mean:.2f} ms, p95 {check.latency_ms_p95:.2f} ms"
        )
    return pairs


def verdict_of(each: ColumnDrift, check: Check) -> str:
    """Return the verdict on one column in a few words."""
    if each.in_a_row >= check.limits.windows:
        return "drift"
    if each.in_a_row:
        return f"{each.in_a_row} of {check.limits.windows} in a row"
    return "ok" if each.windows else "-"


def _fact(name: str, value: str) -> str:
    return f'<tr><th scope="row">{name}</th><td>{value}</td></tr>\n'


def _image(png: bytes, alt: str) -> str:
    source = base64.b64encode(png).decode()
    return f'<p><img alt="{alt}" src="data:image/png;base64,{source}"></p>\n'


def _columns(check: Check) -> str:
    full = len(check.windows_begin)
    if not full:
        return "<p>There is no full window yet.</p>"
    numbers = [*(f"PSI {i}" for i in range(1, full + 1)), "distance", "p"]
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in numbers)
    rows = ""
    for each in check.columns:
        newest = each.windows[-1]
        cells = "".join(_psi_cell(shift) for shift in each.windows)
        cells += f'<td class="number">{newest.distance:.3f}</td>'
        cells += f'<td class="number">{newest.p_value:.2g}</td>'
        drifts = ' class="over"' if each.in_a_row >= check.limits.windows else ""
        rows += f'<tr><th scope="row">{each.column}</th>{cells}'
        rows += f"<td{drifts}>{verdict_of(each, check)}</td></tr>\n"
    return (
        f'<table>\n<tr><th scope="col">column</th>{head}<th scope="col">verdict</th></tr>\n'
        f"{rows}</table>\n<p>Windows from the oldest to the newest; distance and p of the newest."
        " Bold: the window drifts.</p>"
    )


def _psi_cell(shift: Shift) -> str:
    return f'<td class="number{" over" if shift.drifts else ""}">{shift.psi:.3f}</td>'
