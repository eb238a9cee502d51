"""Compare what a model is asked with what it was trained on, and come to a verdict."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from part6.database import connected
from part6.drift import CLASS, ColumnDrift, Floats, Limits, chance_psi, compare
from part6.manifest import read_manifest
from part6.recorded import Recent, read_recent, read_reference
from part6.settings import Settings

Verdict = Literal["not enough yet", "no drift", "drift"]


@dataclass(frozen=True)
class Check:
    """The verdict, and everything it was made from that goes into a report."""

    verdict: Verdict
    sentence: str
    model_name: str
    model_version: int
    checked_at: datetime
    limits: Limits
    reference_rows: int
    predictions: int
    needed: int
    left_out: dict[int, int]  # other version to its number of predictions
    first_at: datetime | None
    last_at: datetime | None
    windows_begin: list[datetime]  # of each full window, oldest first
    latency_ms_mean: float | None
    latency_ms_p95: float | None
    chance_psi: float
    columns: list[ColumnDrift]


@dataclass(frozen=True)
class Compared:
    """A check and the values behind it, for the plots."""

    check: Check
    reference: Floats  # (m, 5)
    newest: Floats  # (n, 5), the newest window, or what there is of it


def check_drift(settings: Settings, limits: Limits) -> Compared:
    """Read the model folder and the newest predictions, and compare.

    Raises:
        WorkFailedError: no model, a damaged reference, no database, or no table of predictions.
    """
    manifest = read_manifest(settings.model_dir)
    reference = read_reference(settings.model_dir, manifest)
    needed = limits.window * limits.windows
    with connected(settings) as engine, engine.connect() as connection:
        recent = read_recent(connection, manifest.version, needed)
    columns = compare(reference, recent.rows, limits)
    found = len(recent.rows)
    full = found // limits.window
    begin = [
        recent.timestamps[i] for i in range(found - full * limits.window, found, limits.window)
    ]
    verdict, sentence = _judge(columns, recent, limits, begin)
    check = Check(
        verdict=verdict,
        sentence=sentence,
        model_name=manifest.name,
        model_version=manifest.version,
        checked_at=datetime.now(UTC),
        limits=limits,
        reference_rows=len(reference),
        predictions=found,
        needed=needed,
        left_out=recent.left_out,
        first_at=recent.timestamps[0] if found else None,
        last_at=recent.timestamps[-1] if found else None,
        windows_begin=begin,
        latency_ms_mean=float(recent.latency_ms.mean()) if found else None,
        latency_ms_p95=float(np.percentile(recent.latency_ms, 95)) if found else None,
        chance_psi=chance_psi(len(reference), limits.window),
        columns=columns,
    )
    return Compared(check, reference, recent.rows[-limits.window :])


def _judge(
    columns: list[ColumnDrift], recent: Recent, limits: Limits, begin: list[datetime]
) -> tuple[Verdict, str]:
    found, needed = len(recent.rows), limits.window * limits.windows
    if found < needed:
        others = ", ".join(f"{rows:,} of version {v}" for v, rows in recent.left_out.items())
        left_out = f" ({others} left out)" if others else ""
        return "not enough yet", f"not enough yet: {found:,} of {needed:,} predictions{left_out}"
    # The farthest first.
    drifting = sorted(
        (each for each in columns if each.in_a_row >= limits.windows),
        key=lambda each: -each.windows[-1].psi,
    )
    if not drifting:
        return "no drift", f"no drift in {limits.windows} windows of {limits.window:,} predictions"
    return "drift", (
        f"drift in {', '.join(map(_how_far, drifting))}, in each of the last "
        f"{limits.windows} windows, since {begin[0]:%Y-%m-%d %H:%M:%S} UTC at the latest"
    )


def _how_far(drifting: ColumnDrift) -> str:
    newest = drifting.windows[-1]
    if drifting.column == CLASS:
        return f"{drifting.column} (PSI {newest.psi:.2f})"
    moved = f"mean {drifting.reference_mean:.2f} -> {newest.mean:.2f} cm"
    return f"{drifting.column} (PSI {newest.psi:.2f}, {moved})"
