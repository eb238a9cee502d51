"""The peers: each in an environment of its own, each in the configuration that suits it best.

The environments lie under artifacts/bench/peers/ and are used again by the next run. They take
the newest release that installs beside the course's scikit-learn, NumPy and ONNX Runtime, and
get uvloop and httptools like ours, whether or not the peer asks for them.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from bench.servers import ROOT

ENVIRONMENTS = ROOT / "artifacts/bench/peers"
APPS = ROOT / "bench/serving_apps"
BINARIES = "Scripts" if os.name == "nt" else "bin"

HTTP = ("httptools", "uvloop; sys_platform != 'win32'")
SAME = ("numpy", "onnxruntime", "scikit-learn")
REQUIREMENTS = {
    "mlserver": ("mlserver", "mlserver-sklearn", *HTTP),
    "bentoml": ("bentoml", *HTTP),
    "litellm": ("litellm[proxy]", *HTTP),
}
PREDICTING = {"mlserver", "bentoml"}  # these have to agree with us on the model's libraries


class PeerError(Exception):
    """A peer cannot be installed; the message says why."""


def environment(peer: str) -> Path:
    """The folder of the programs of `peer`, installed if it is not there yet.

    Raises:
        PeerError: there is no uv, or no set of releases fits together.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise PeerError("not installed: uv is not on the PATH")
    same = SAME if peer in PREDICTING else ()
    wanted = [*REQUIREMENTS[peer], *(f"{name}=={version(name)}" for name in same)]
    key = hashlib.sha256(json.dumps([sys.version, wanted]).encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / f"{peer}-{key}"
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {peer} into {folder} ...", file=sys.stderr)
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(folder), *wanted)
        complete.touch()
    return folder / BINARIES


def installed(binaries: Path, *packages: str) -> dict[str, str]:
    """The versions of `packages` in an environment."""
    code = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    asked = [str(binaries / "python"), "-c", code, *packages]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def lay_out_mlserver(
    folder: Path, runtime: str, ports: tuple[int, int], skops: Path, onnx: Path
) -> None:
    """Write the settings and the model that MLServer reads from `folder`.

    Inference in the server's own process, no metrics, no compression, no access log: on one core
    each of them would only cost it time.
    """
    settings = {
        "debug": False,  # which is what turns the access log off
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "parallel_workers": 0,
        "metrics_endpoint": None,
        "gzip_enabled": False,
    }
    place = folder / "iris"
    place.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    if runtime == "sklearn":
        import joblib

        from part6.estimator import load_skops

        implementation, file = "mlserver_sklearn.SKLearnModel", "model.joblib"
        # This runtime reads joblib and nothing else: the same estimator, in another file.
        joblib.dump(load_skops(skops), place / file)
    else:
        implementation, file = "mlserver_onnx.OnnxModel", "model.onnx"
        shutil.copy(onnx, place / file)
        shutil.copy(APPS / "mlserver_onnx.py", place)
    parameters = {"uri": f"./{file}"}
    model = {"name": "iris", "implementation": implementation, "parameters": parameters}
    (place / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise PeerError(f"not installed: {lines[-1].strip()}")
