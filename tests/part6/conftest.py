"""Fixtures of part 6: model folders made in a second, servers on them, a registered model."""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from filelock import FileLock
from numpy.typing import NDArray

from part6.app import create_app
from part6.file_hashes import digest, file_hashes
from part6.iris import FEATURES
from part6.manifest import Manifest
from part6.registry import HASH_TAG, MODEL_HASH_TAG, SNAPSHOT
from part6.settings import Settings
from tests.apis import Api, running_api
from tests.conftest import SHARED_HOME, Database
from tests.part6.model_folders import put_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

    from tests.conftest import Mlflow, RunModule, Server

KEY = "the key of these tests"
NOBODY = 9  # a port where nobody listens


@cache
def flowers() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The 150 flowers: (150, 4) in cm, and their classes (150,)."""
    from sklearn.datasets import load_iris

    rows, classes = load_iris(return_X_y=True)
    return rows, classes


def train(kernel: str = "rbf", **options: object) -> "Pipeline":
    """A model like part 3's; another kernel makes another version."""
    import pandas as pd
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rows, classes = flowers()
    model = Pipeline([("scaler", StandardScaler()), ("svc", SVC(kernel=kernel, **options))])
    return model.fit(pd.DataFrame(rows, columns=list(FEATURES)), classes)


def skops_of(model: object) -> bytes:
    """A model as skops writes it."""
    import skops.io

    return bytes(skops.io.dumps(model))


@cache
def dumped(model: "Pipeline") -> bytes:
    """The model as a skops file, always the same one: by itself it would hold the time of day."""
    return skops_of(model)


def put_model(
    model_dir: Path,
    model: "Pipeline",
    version: int = 1,
    *,
    onnx: bool = True,
    alias: str | None = None,
) -> Manifest:
    """Make `model` the one in `model_dir`, trained on the 150 rows of the data set."""
    return put_in(model_dir, dumped(model), flowers()[0], version, onnx=onnx, alias=alias)


@pytest.fixture(scope="session")
def pipelines() -> dict[int, "Pipeline"]:
    """Version to model."""
    return {1: train("rbf"), 2: train("linear")}


@pytest.fixture(scope="session")
def made(
    pipelines: dict[int, "Pipeline"], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A model folder of each kind, to be copied."""
    folders = {}
    for runtime in ("onnxruntime", "scikit-learn"):
        folders[runtime] = tmp_path_factory.mktemp("made") / "model"
        put_model(folders[runtime], pipelines[1], onnx=runtime == "onnxruntime")
    return folders


@pytest.fixture
def model_dir(made: dict[str, Path], tmp_path: Path) -> Path:
    """A model folder of this test's own with version 1 for ONNX Runtime, following no alias."""
    return shutil.copytree(made["onnxruntime"], tmp_path / "model")


class Client:
    """Requests to an app in this process; its lifespan lasts as long as the `with` block."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        self._lifespan = app.router.lifespan_context(app)

    def __enter__(self) -> "Client":
        try:
            self._runner.run(self._lifespan.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """Send one request; an error inside the app is its answer 500."""

        async def sent() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://test", verify=False
            ) as client:
                return await client.request(method, path, **content)

        return self._runner.run(sent())

    def get(self, path: str) -> httpx2.Response:
        return self.request("GET", path)

    def post(self, path: str, **content: Any) -> httpx2.Response:
        return self.request("POST", path, **content)


OpenClient = Callable[..., Client]


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    """A function that serves a model folder in this process, without a database."""
    with ExitStack() as clients:
        yield lambda folder, **changed: clients.enter_context(Client(serving(folder, **changed)))


@pytest.fixture(scope="module")
def client(made: dict[str, Path]) -> Iterator[Client]:
    """Version 1 in this process, for the tests of a module that change nothing."""
    with Client(serving(made["onnxruntime"])) as client:
        yield client


def serving(model_dir: Path, **changed: Any) -> FastAPI:
    """The app on a model folder, without a database and deaf to this process's environment."""
    given: dict[str, Any] = {
        "model_dir": model_dir,
        "model_api_key": KEY,
        "mlflow_tracking_uri": f"http://127.0.0.1:{NOBODY}",
        "record_predictions": False,
    }
    return create_app(Settings(**{"_env_file": None} | given | changed))


StartApi = Callable[..., Api]


@pytest.fixture
def start_api(tmp_path: Path) -> Iterator[StartApi]:
    """A function that runs `uvicorn part6.app:app` on a model folder and waits for an answer."""
    environment = {
        "MODEL_API_KEY": KEY,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{NOBODY}",
        "RECORD_PREDICTIONS": "false",
    }
    options = ("--no-access-log", "--timeout-graceful-shutdown=15")
    with ExitStack() as running:

        def start(model_dir: Path, **variables: str) -> Api:
            changed = environment | {"MODEL_DIR": str(model_dir)} | variables
            return running.enter_context(
                running_api("part6.app:app", tmp_path, *options, **changed)
            )

        yield start


def flower(row: NDArray[np.float64]) -> dict[str, float]:
    """A row as a request says it."""
    return dict(zip(FEATURES, row.tolist(), strict=True))


FLOWER = {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}


def new_name() -> str:
    """A model or alias name that no other test has."""
    return f"test_{uuid4().hex[:8]}"


@dataclass(frozen=True)
class Registry:
    """A registered model with two versions, and what a script needs to find it."""

    name: str
    environ: dict[str, str]
    client: "MlflowClient"

    def run_of(self, version: int) -> str:
        """The run that made a version."""
        return str(self.client.get_model_version(self.name, str(version)).run_id)

    def point(self, alias: str, version: int) -> None:
        """Move an alias, as promoting does."""
        self.client.set_registered_model_alias(self.name, alias, str(version))

    def register(
        self,
        changed: dict[str, bytes],
        tags: dict[str, str] | None = None,
        snapshot: bytes | None = None,
    ) -> int:
        """Register version 1 once more with some files changed, as anybody can."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "model")
            folder.mkdir()
            self._fetch(f"models:/{self.name}/1", folder)
            for name, content in changed.items():
                (folder / name).write_bytes(content)
            like = self.client.get_model_version(self.name, "1")
            run_id = str(like.run_id)
            own = {MODEL_HASH_TAG: digest(file_hashes(folder))}
            if snapshot is not None:
                run_id = self.client.create_run("0").info.run_id
                Path(place, SNAPSHOT).write_bytes(snapshot)
                self.client.log_artifact(run_id, str(Path(place, SNAPSHOT)))
                own |= {HASH_TAG: hashlib.sha256(snapshot).hexdigest()}
            path = new_name()
            self.client.log_artifacts(run_id, str(folder), path)
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{path}"
            made = self.client.create_model_version(
                self.name, source, run_id, tags=dict(like.tags) | own | (tags or {})
            )
        return int(made.version)

    def overwrite(self, version: int, name: str, content: bytes) -> None:
        """Change a file of a version in the artifact store behind the registry's back."""
        made = self.client.get_model_version(self.name, str(version))
        run = self.client.get_run(str(made.run_id))
        with tempfile.TemporaryDirectory() as place:
            Path(place, name).write_bytes(content)
            within = str(made.source).removeprefix(f"{run.info.artifact_uri}/")
            self.client.log_artifact(run.info.run_id, str(Path(place, name)), within)

    def file(self, name: str) -> bytes:
        """A file of version 1."""
        with tempfile.TemporaryDirectory() as place:
            self._fetch(f"models:/{self.name}/1/{name}", Path(place))
            return Path(place, name).read_bytes()

    def _fetch(self, uri: str, folder: Path) -> None:
        import mlflow

        mlflow.set_tracking_uri(self.environ["MLFLOW_TRACKING_URI"])
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))


@pytest.fixture(scope="session")
def registry(mlflow_server: "Mlflow", postgres: "Server", run_module: "RunModule") -> Registry:
    """Version 1 with kernel rbf and version 2 with a linear one, made once for all workers.

    Tests bring their own aliases and further versions.
    """
    from mlflow import MlflowClient

    file = Path(os.environ[SHARED_HOME], "part6_registry.json")
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            name, database = new_name(), new_name()
            with postgres.connect() as connection:
                connection.execute(f"CREATE DATABASE {database}")
            environ = mlflow_server.environ | Database(postgres, database).environ
            environ["MODEL_NAME"] = name
            run_module("part6.seed_database", "--rows", "300", env=environ, check=True)
            for kernel in ("rbf", "linear"):
                options = ("--model-name", name, "--rows", "300", "--kernel", kernel)
                run_module("part6.save_model_to_registry", *options, env=environ, check=True)
            file.write_text(json.dumps(environ), encoding="utf-8")
        environ = json.loads(file.read_text(encoding="utf-8"))
    return Registry(environ["MODEL_NAME"], environ, MlflowClient(mlflow_server.uri))
