"""A model of the measurement's own: trained, registered and downloaded on a stack of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from course.config import Config
from course.home import Home
from course.processes import child_environment
from course.services.mlflow_server import MlflowServer
from course.services.object_store import ObjectStore
from course.services.postgres import Postgres
from course.supervisor import Supervisor

NAME = "sk_model"
# What would point a script at other servers than these.
OURS = ("POSTGRES_", "MLFLOW_", "AWS_", "MINIO_", "S3_", "MODEL_", "RECORD_", "COURSE_")


@dataclass(frozen=True)
class OwnModel:
    """One registered version in its three shapes, and the environment that the server needs."""

    onnx: Path  # MODEL_DIR of `download_model --onnx`
    sklearn: Path  # MODEL_DIR of `download_model`
    registered: Path  # the files as MLflow keeps them
    environ: dict[str, str]


@contextmanager
def own_model() -> Iterator[OwnModel]:
    """Start PostgreSQL, S3 and MLflow, register a model and download it.

    In the block only PostgreSQL still runs, for the predictions; in the end everything is removed.
    """
    with tempfile.TemporaryDirectory(prefix="course-bench-") as temporary:
        folder = Path(temporary).resolve()
        config = Config(postgres_port=26500, s3_port=29500, mlflow_port=25500)
        home = Home(folder / ".course")
        supervisor = Supervisor(home, config)
        try:
            ports = supervisor.up([Postgres.name, ObjectStore.name, MlflowServer.name])
            environ = _clean(child_environment(home)) | {
                "POSTGRES_HOST": "127.0.0.1",
                "POSTGRES_PORT": str(ports[Postgres.name]),
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports[MlflowServer.name]}",
            }
            model = OwnModel(folder / "onnx", folder / "sklearn", folder / "registered", environ)
            _register_and_download(model)
            supervisor.stop([MlflowServer.name, ObjectStore.name])
            yield model
        finally:
            supervisor.down(wipe=True)


def _register_and_download(model: OwnModel) -> None:
    named = ["--model-name", NAME]
    download = ["part6.download_model", *named, "--alias", "champion"]
    _run(model.environ, "part3.seed_database")
    _run(model.environ, "part3.save_model_to_registry", *named)
    _run(model.environ, "part3.promote_model", *named)
    _run(model.environ | {"MODEL_DIR": str(model.onnx)}, *download, "--onnx")
    _run(model.environ | {"MODEL_DIR": str(model.sklearn)}, *download)
    uri = f"models:/{NAME}@champion"
    place = ["-u", uri, "-d", str(model.registered)]
    _run(model.environ, "mlflow", "artifacts", "download", *place)


def _clean(environ: dict[str, str]) -> dict[str, str]:
    """The environment without the addresses of other servers."""
    return {k: v for k, v in environ.items() if not k.startswith(OURS)}


def _run(environ: dict[str, str], module: str, *arguments: str) -> None:
    print(f"python -m {module} ...", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"python -m {module} failed:\n{done.stderr}")
