"""The five measurements of bench/serving.py, each ending in a table."""

import re
import sys
import time
from pathlib import Path
from statistics import median

from bench.contestants import (
    BARE,
    BENTOML,
    FLOOR,
    MLFLOW,
    MLSERVER,
    MLSERVER_ONNX,
    OURS,
    PAIRS,
    PEERS,
    RECORDING,
    SKLEARN,
    Contestant,
    numbered,
)  # fmt: skip
from bench.load import ask
from bench.servers import get, started
from bench.serving_round import BATCH, Field, Measured
from bench.serving_tables import Report, Row, Table

# How many times as fast as each of them /predict is asked to be.
TIMES = {BARE: 0.75, MLFLOW: 5.0, MLSERVER: 5.0, MLSERVER_ONNX: 5.0, BENTOML: 8.0}
OWN = (FLOOR, BARE, OURS, RECORDING, SKLEARN)
MANY = 16  # connections
BATCH_CONNECTIONS = 4
ABOVE_P50_MS, ABOVE_P99_MS = 0.45, 2.0
ROWS_PER_SECOND = 250_000
RECORDING_COST = 5.0  # percent
READY_SECONDS, RESIDENT_MB = 2.0, 200.0


def predict(field: Field, report: Report) -> None:
    """POST /predict over 16 connections."""
    found = field.rounds([*OWN, *PEERS], lambda c: field.single(c, MANY))
    report.raw["predict"] = _documents(found)
    speeds = {name: [m.outcome.per_second for m in each] for name, each in found.items()}
    ours = median(speeds[OURS])
    rows = []
    for name, each in found.items():
        ratio = ours / median(speeds[name]) if any(speeds[name]) else float("nan")
        times = TIMES.get(name)
        rows.append(
            Row(
                name,
                speeds[name],
                asked=_times(times),
                found="" if name == OURS else f"ours is {ratio:.2f} x",
                reached=None if times is None else ratio >= times and not _bad(each),
                remark=_remark(each),
            )
        )
    rows += [
        Row(name, asked=_times(TIMES[name]), remark=why) for name, why in report.failed.items()
    ]
    report.tables.append(Table(f"POST /predict, {MANY} connections", "answers/s", rows))


def latency(field: Field, report: Report) -> None:
    """POST /predict over one connection."""
    found = field.rounds(OWN, lambda c: field.single(c, 1))
    report.raw["latency"] = _documents(found)
    rows = []
    for label, limit in (("p50", ABOVE_P50_MS), ("p99", ABOVE_P99_MS)):
        times = {
            name: [getattr(m.outcome, f"{label}_ms") for m in each] for name, each in found.items()
        }
        for name, each in found.items():
            above = median(times[name]) - median(times[FLOOR])
            asked = name == OURS
            rows.append(
                Row(
                    f"{label} {name}",
                    times[name],
                    digits=3,
                    asked=f"<= {limit} ms above the floor" if asked else "",
                    found="" if name == FLOOR else f"{above:+.3f} ms",
                    reached=above <= limit and not _bad(each) if asked else None,
                    remark=_remark(each),
                )
            )
    report.tables.append(Table("POST /predict, 1 connection", "ms", rows))


def batch(field: Field, report: Report) -> None:
    """POST /predict/batch."""
    found = field.rounds(OWN[1:], lambda c: field.batch(c, BATCH_CONNECTIONS))
    report.raw["batch"] = _documents(found)
    rows = []
    for name, each in found.items():
        speeds = [m.outcome.per_second * BATCH for m in each]
        asked = name == OURS
        rows.append(
            Row(
                name,
                speeds,
                asked=f">= {ROWS_PER_SECOND:,}" if asked else "",
                found=f"{median(speeds):,.0f}",
                reached=median(speeds) >= ROWS_PER_SECOND and not _bad(each) if asked else None,
                remark=_remark(each),
            )
        )
    title = f"POST /predict/batch, {BATCH} rows, {BATCH_CONNECTIONS} connections"
    report.tables.append(Table(title, "rows/s", rows))


def recording(field: Field, report: Report) -> None:
    """With and without, one right after the other, in several pairs; each time gives a cost."""
    pairs = [(numbered(OURS, i), numbered(RECORDING, i)) for i in range(PAIRS)]
    rows = []
    for title, size, asked in (("/predict", 1, True), (f"/predict/batch of {BATCH}", BATCH, False)):
        before = _counted(field)
        found = field.rounds(
            [name for pair in pairs for name in pair],
            lambda c, size=size: (  # type: ignore[misc]
                field.single(c, MANY) if size == 1 else field.batch(c, BATCH_CONNECTIONS)
            ),
        )
        recorded, dropped = (now - then for now, then in zip(_counted(field), before, strict=True))
        report.raw[f"recording {title}"] = _documents(found)
        costs = [
            (1 - on.outcome.per_second / off.outcome.per_second) * 100
            for without, recorder in pairs
            for off, on in zip(found[without], found[recorder], strict=True)
        ]
        silent = [each for without, _ in pairs for each in found[without]]
        writing = [each for _, recorder in pairs for each in found[recorder]]
        answered = sum(each.outcome.answers for each in writing) * size
        complete = dropped == 0 and recorded >= answered
        more_cpu = median(each.cpu_us for each in writing) / median(each.cpu_us for each in silent)
        rows.append(
            Row(
                title,
                costs,
                digits=1,
                asked=f"<= {RECORDING_COST:g} %" if asked else "",
                found=f"{median(costs):.1f} %",
                reached=median(costs) <= RECORDING_COST and complete if asked else None,
                remark=f"{recorded:,.0f} rows written for {answered:,} answered, "
                f"{dropped:,.0f} dropped; CPU per answer {more_cpu - 1:+.1%}",
            )
        )
    report.tables.append(Table("What recording costs of the throughput", "%", rows))


def start(field: Field, report: Report, contestant: Contestant, folder: Path) -> None:
    """Start our server again and again, then look at what it has imported."""
    # First, because it compiles what Python has not compiled yet; a later start finds bytecode.
    heavy = _imported(field, contestant, folder / "imports.log")
    ready: list[float] = []
    resident: list[float] = []
    for turn in range(field.repeat):
        log = folder / f"start-{turn}.log"
        begun = time.perf_counter()
        with started(
            contestant.command, contestant.environ, contestant.port, field.server_core, log
        ) as server:
            server.wait_until(contestant.ready, 60)
            ready.append(time.perf_counter() - begun)
            ask(field.single(contestant, MANY), field.load_core)
            resident.append(server.resident_mb())
        said = f"ready after {ready[-1]:.2f} s, {resident[-1]:.0f} MB after its load"
        print(f"{turn + 1}/{field.repeat} {said}", file=sys.stderr)
    report.raw["start"] = {"ready_seconds": ready, "resident_mb": resident}
    rows = [
        Row(
            "from process start to ready, s",
            ready,
            digits=2,
            asked=f"<= {READY_SECONDS:g} s",
            found=f"{median(ready):.2f} s",
            reached=median(ready) <= READY_SECONDS,
        ),
        Row(
            "resident after a load of 16 connections, MB",
            resident,
            asked=f"<= {RESIDENT_MB:g} MB",
            found=f"{median(resident):.0f} MB",
            reached=median(resident) <= RESIDENT_MB,
        ),
        Row(
            "MLflow, scikit-learn or pandas imported",
            asked="no MLflow",
            found=", ".join(heavy) or "none",
            reached="mlflow" not in heavy,
            remark="by `python -X importtime` of the server, after answers",
        ),
    ]
    report.tables.append(Table(f"Start of the server ({contestant.name})", "s or MB", rows))


def _imported(field: Field, contestant: Contestant, log: Path) -> list[str]:
    """Which of the heavy packages the server imports, at the start or while it answers."""
    python, *rest = contestant.command
    command = [python, "-X", "importtime", *rest]
    with started(command, contestant.environ, contestant.port, field.server_core, log) as server:
        server.wait_until(contestant.ready, 60)
        ask(field.single(contestant, MANY), field.load_core)
        for path in ("/model", "/metrics"):
            get(server.port, path)
    text = log.read_text(errors="replace")
    packages = set(re.findall(r"^import time:.*\| +(\w+)", text, re.MULTILINE))
    assert "part6" in packages, "this Python does not say what it imports"
    return sorted(packages & {"mlflow", "sklearn", "pandas"})


def _counted(field: Field) -> tuple[float, float]:
    """How many rows the recording servers have written, and dropped, when no more are waiting."""
    written = dropped = 0.0
    deadline = time.monotonic() + 30
    for number in range(PAIRS):
        _, server = field.running[numbered(RECORDING, number)]
        while _metric(text := get(server.port, "/metrics") or "", "waiting"):
            if time.monotonic() > deadline:
                raise SystemExit("the predictions were not written within 30 s")
            time.sleep(0.1)
        written += _metric(text, "recorded_total")
        dropped += _metric(text, "dropped_total")
    return written, dropped


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^iris_predictions_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"/metrics has no {name}"
    return float(found[1])


def _times(times: float | None) -> str:
    if times is None:
        return ""
    return f">= {times:.0%} of it" if times < 1 else f">= {times:g} x"


def _bad(each: list[Measured]) -> int:
    return sum(m.outcome.bad for m in each)


def _remark(each: list[Measured]) -> str:
    """What the server paid, whether the load was the bottleneck, and what went wrong."""
    cpu = median(m.cpu_us for m in each)
    load = median(m.outcome.cpu for m in each)
    wrong = sum(m.outcome.wrong for m in each)
    bad = _bad(each)
    faults = f"; {bad} BAD ANSWERS ({wrong} wrong)" if bad else ""
    return f"{cpu:,.0f} us CPU each; load {load:.0%}{faults}"


def _documents(found: dict[str, list[Measured]]) -> dict[str, object]:
    return {name: [m.document() for m in each] for name, each in found.items()}
