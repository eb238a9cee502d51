"""Who is asked: the floor, a bare endpoint, our server in three ways, and the peers."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import peers
from bench.own_model import OwnModel
from bench.servers import ROOT, environment_first
from course import ports
from part6.iris import FEATURES
from part6.manifest import ONNX, SKOPS, read_manifest

Rows = Sequence[Sequence[float]]

FLOOR = "bare ASGI floor"
BARE = "bare FastAPI + ONNX"
OURS = "ours, ONNX"
RECORDING = "ours, ONNX, recording"
SKLEARN = "ours, scikit-learn"
MLFLOW = "mlflow models serve"
MLSERVER = "MLServer, scikit-learn"
MLSERVER_ONNX = "MLServer, ONNX"
BENTOML = "BentoML, ONNX"
PEERS = (MLFLOW, MLSERVER, MLSERVER_ONNX, BENTOML)

PAIRS = 3

BATCH_PATH = "/predict/batch"
FIRST_PORT = 27000


@dataclass(frozen=True)
class Contestant:
    """How to start a server, how to ask it, and where its answer says the class."""

    name: str
    command: list[str]
    port: int
    environ: dict[str, str]
    ready: str
    path: str = "/predict"
    body: Callable[[Rows], str] = lambda rows: json.dumps(_named(rows[0]))
    pattern: str = r'"iris_class": ?(\d)'
    constant: str | None = None  # the class that it always answers
    cwd: Path = ROOT
    versions: dict[str, str] = field(default_factory=dict)


class Ports:
    """Free ports, none given twice."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def one(self) -> int:
        """A port that nobody has."""
        port = ports.choose(FIRST_PORT, not_these=self._given)
        self._given.add(port)
        return port


def batch_body(rows: Rows) -> str:
    """The rows as BATCH_PATH wants them, ours and that of the bare endpoint."""
    return json.dumps({"rows": [_named(row) for row in rows]})


def own(model: OwnModel, free: Ports) -> list[Contestant]:
    """Those that need nothing but the course's own environment."""
    environ = model.environ | {"BENCH_ONNX": str(onnx_file(model))}
    silent = environ | {"RECORD_PREDICTIONS": "false", "MODEL_WATCH_SECONDS": "0"}
    apps = "bench.serving_apps"
    # FastAPI's generated schema is there in any case; the floor answers any path.
    schema = "/openapi.json"
    return [
        replace(_uvicorn(FLOOR, f"{apps}.floor:app", environ, free, "/"), constant="2"),
        _uvicorn(BARE, f"{apps}.bare:app", environ, free, schema),
        ours(OURS, silent | {"MODEL_DIR": str(model.onnx)}, free),
        ours(
            RECORDING,
            silent | {"MODEL_DIR": str(model.onnx), "RECORD_PREDICTIONS": "true"},
            free,
        ),
        ours(SKLEARN, silent | {"MODEL_DIR": str(model.sklearn)}, free),
    ]


def ours(name: str, environ: dict[str, str], free: Ports) -> Contestant:
    """Part 6's server as its lesson starts it, without the access log."""
    return _uvicorn(name, "part6.app:app", environ, free, "/health/ready")


def more_pairs(contestants: Sequence[Contestant], free: Ports) -> list[Contestant]:
    """Our server without and with recording, some times more.

    Two processes of one server differ by a percent or two for as long as they live, which is about
    what recording costs; over several pairs that evens out.
    """
    pair = [each for each in contestants if each.name in (OURS, RECORDING)]
    return [
        ours(numbered(each.name, number), each.environ, free)
        for number in range(1, PAIRS)
        for each in pair
    ]


def numbered(name: str, number: int) -> str:
    """The name of a contestant in pair `number`; the first pair has the plain names."""
    return f"{name} #{number + 1}" if number else name


def peer(name: str, model: OwnModel, free: Ports, folder: Path) -> Contestant:
    """A peer, installed if need be; its files are written below `folder`.

    Raises:
        PeerError: it cannot be installed.
    """
    if name == MLFLOW:
        return _mlflow(model, free)
    if name == BENTOML:
        return _bentoml(model, free)
    return _mlserver(name, model, free, folder / name.replace(", ", "-"))


def onnx_file(model: OwnModel) -> Path:
    """The ONNX file that our server serves."""
    return model.onnx / read_manifest(model.onnx).folder / ONNX


def _uvicorn(name: str, app: str, environ: dict[str, str], free: Ports, ready: str) -> Contestant:
    port = free.one()
    command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
    return Contestant(name, [*command, "--no-access-log"], port, environ, ready)


def _mlflow(model: OwnModel, free: Ports) -> Contestant:
    """In the course's environment, which is where MLflow, scikit-learn and skops are."""
    port = free.one()
    serve = ["models", "serve", "-m", str(model.registered), "--env-manager", "local"]
    return Contestant(
        MLFLOW,
        [sys.executable, "-m", "mlflow", *serve, "-h", "127.0.0.1", "-p", str(port), "-w", "1"],
        port,
        model.environ
        | environment_first(Path(sys.executable).parent)  # it starts uvicorn by its name
        | {"UVICORN_ACCESS_LOG": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        ready="/ping",
        path="/invocations",
        # Of the shapes that it accepts for a model with named columns the one it answers fastest.
        body=lambda rows: json.dumps(
            {"inputs": {name: [row[i] for row in rows] for i, name in enumerate(FEATURES)}}
        ),
        pattern=r'"predictions": ?\[(\d)',
    )


def _mlserver(name: str, model: OwnModel, free: Ports, folder: Path) -> Contestant:
    """With the runtime that it ships for scikit-learn, and with ours around the ONNX session."""
    binaries = peers.environment("mlserver")
    port = free.one()
    skops = model.sklearn / read_manifest(model.sklearn).folder / SKOPS
    runtime = "sklearn" if name == MLSERVER else "onnx"
    peers.lay_out_mlserver(folder, runtime, (port, free.one()), skops, onnx_file(model))
    return Contestant(
        name,
        [str(binaries / "mlserver"), "start", str(folder)],
        port,
        model.environ | environment_first(binaries),
        ready="/v2/models/iris/ready",
        path="/v2/models/iris/infer",
        body=lambda rows: json.dumps({"inputs": [_tensor(rows)]}),
        pattern=r'"data": ?\[(\d)\]',
        cwd=folder,
        versions=peers.installed(binaries, "mlserver", "fastapi", "uvicorn", "scikit-learn"),
    )


def _bentoml(model: OwnModel, free: Ports) -> Contestant:
    binaries = peers.environment("bentoml")
    port = free.one()
    serve = ["serve", "bento_service:Iris", "--host", "127.0.0.1", "--port", str(port)]
    return Contestant(
        BENTOML,
        [str(binaries / "bentoml"), *serve, "--working-dir", str(peers.APPS)],
        port,
        model.environ
        | environment_first(binaries)
        | {"BENCH_ONNX": str(onnx_file(model)), "BENTOML_DO_NOT_TRACK": "True"},
        ready="/readyz",
        versions=peers.installed(binaries, "bentoml", "uvicorn", "onnxruntime"),
    )


def _named(row: Sequence[float]) -> dict[str, float]:
    return dict(zip(FEATURES, row, strict=True))


def _tensor(rows: Rows) -> dict[str, object]:
    data = [number for row in rows for number in row]
    return {"name": "rows", "shape": [len(rows), len(FEATURES)], "datatype": "FP64", "data": data}
