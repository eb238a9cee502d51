"""How fast does part 6 answer, beside the floor, a bare endpoint and three other servers?

uv run python -m bench.serving
uv run python -m bench.serving --only predict,batch --no-peers --repeat 3 --seconds 1

It starts a stack of its own on free ports, registers a model, downloads it, and serves the same
version from every contestant: one worker, bound to one core. The load runs on another core, over
connections that stay open, and checks every answer against scikit-learn. PostgreSQL, where the
predictions go, runs on the core of the load. Repetitions go round, one contestant after the other,
so that whatever else the machine does hits all alike.

- predict: POST /predict over 16 connections
- latency: POST /predict over one connection
- batch: POST /predict/batch with 256 rows, over 4 connections
- recording: what writing every prediction into PostgreSQL costs of both
- start: from the start of the process to /health/ready, the memory, and what is imported

The peers are installed on the first run, into environments under artifacts/bench/peers/.
"""

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from bench import serving_parts as parts
from bench.contestants import PEERS, RECORDING, Contestant, Ports, more_pairs, own, peer
from bench.cores import pinned, two_cores
from bench.own_model import OwnModel, own_model
from bench.peers import PeerError
from bench.report import save, versions
from bench.servers import StartError, started
from bench.serving_round import Field, questions
from bench.serving_tables import Report

ASKING = {
    "predict": parts.predict,
    "latency": parts.latency,
    "batch": parts.batch,
    "recording": parts.recording,
}
PARTS = (*ASKING, "start")
PACKAGES = (
    "fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "onnxruntime",
    "scikit-learn", "numpy", "orjson", "prometheus-client", "psycopg", "mlflow",
)  # fmt: skip
START_SECONDS = 180.0


def measure(
    only: Annotated[
        str, typer.Option(help=f"Some of {', '.join(PARTS)}.", show_default="all")
    ] = ",".join(PARTS),
    with_peers: Annotated[bool, typer.Option("--peers/--no-peers", help="The others too.")] = True,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions of each measurement.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a repetition.")] = 5.0,
    warm_up: Annotated[float, typer.Option(min=0.0, help="Seconds before each.")] = 1.0,
) -> None:
    """Measure, print a table per question and write JSON."""
    chosen = [name.strip() for name in only.split(",")]
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, _stop)
    server_core, load_core = two_cores()
    report = Report(versions(PACKAGES), server_core, load_core)
    with ExitStack() as everything:
        # What the servers need beside themselves, PostgreSQL above all, is not on their core.
        with pinned(load_core):
            model = everything.enter_context(own_model())
        folder = Path(everything.enter_context(tempfile.TemporaryDirectory()))
        field = Field(repeat, seconds, warm_up, server_core, load_core, questions(model))
        free = Ports()
        ours = own(model, free)
        if "start" in chosen:  # first, while nothing else of ours runs
            _say("start")
            again = next(contestant for contestant in ours if contestant.name == RECORDING)
            parts.start(field, report, again, folder)
        if asking := [name for name in ASKING if name in chosen]:
            more = more_pairs(ours, free) if "recording" in asking else []
            for contestant in (*ours, *more):
                _start(contestant, field, everything, folder, START_SECONDS)
            if with_peers and "predict" in asking:
                _start_peers(model, free, field, everything, folder, report)
            for name in asking:
                _say(name)
                ASKING[name](field, report)
    report.show()
    save("serving", report.document())


def _start_peers(
    model: OwnModel, free: Ports, field: Field, stack: ExitStack, folder: Path, report: Report
) -> None:
    for name in PEERS:
        try:
            contestant = peer(name, model, free, folder)
            _start(contestant, field, stack, folder, START_SECONDS)
        except (PeerError, StartError) as exc:
            report.failed[name] = str(exc)
            print(f"{name}: {exc}", file=sys.stderr)
        else:
            report.peers[name] = contestant.versions


def _start(
    contestant: Contestant, field: Field, stack: ExitStack, folder: Path, seconds: float
) -> None:
    _say(f"starting {contestant.name}")
    server = stack.enter_context(
        started(
            contestant.command,
            contestant.environ,
            contestant.port,
            field.server_core,
            folder / f"{contestant.port}.log",
            contestant.cwd,
        )
    )
    server.wait_until(contestant.ready, seconds)
    server.settle()
    field.running[contestant.name] = (contestant, server)


def _say(what: str) -> None:
    print(f"--- {what}", file=sys.stderr)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(measure)
