import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import httpx2
import numpy as np
import pytest
from sklearn.datasets import load_iris

from course import ports
from part6.command import WorkFailedError
from part6.download_model import download_model
from part6.iris import FEATURES
from part6.manifest import SKOPS, read_manifest
from part6.save_model_to_registry import save_model_to_registry
from part6.seed_database import seed_database
from tests.archive.conftest import Archived, copy_archive
from tests.conftest import ROOT, Database, Mlflow, clean_environment
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow

FLOWER = '{"sepal_length": %s, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}'


@dataclass(frozen=True)
class Registered:
    """A registered model, downloaded by the old script and by the new one."""

    name: str
    run_id: str
    old: Archived
    model_dir: Path


@pytest.fixture(scope="module")
def registered(
    module_database: Database, mlflow_server: Mlflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registered]:
    """Registered once; the new scripts run in this process, so that MLflow is imported once."""
    name = f"model_{uuid4().hex[:8]}"
    old = copy_archive("part6", tmp_path_factory.mktemp("old"), mlflow=mlflow_server)
    model_dir = tmp_path_factory.mktemp("new") / "model"
    environ = module_database.environ | mlflow_server.environ | {"MODEL_DIR": str(model_dir)}
    with patch.dict(os.environ, environ):  # what the scripts set for MLflow goes with it
        seed_database(rows=300)
        save_model_to_registry(name, rows=300)
        download_model(name, onnx=True)
        run_id = read_manifest(model_dir).run_id
        # To the run it is `model`; the old app looks for the name that the old training gave.
        old.run("download_model.py", "--model-name", "model", "--run-id", run_id)
        (old.folder / "model").rename(old.folder / "sk_model")
        yield Registered(name, run_id, old, model_dir)


@dataclass(frozen=True)
class Api:
    """A running server and its log."""

    address: str
    log: Path

    def predict(self, body: str) -> httpx2.Response:
        """Ask over a connection of its own: after status 500 the server closes it."""
        headers = {"Content-Type": "application/json"}
        return httpx2.post(f"{self.address}/predict", content=body, headers=headers, timeout=PATIENCE)

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            return httpx2.get(f"{self.address}/openapi.json", timeout=PATIENCE).is_success
        except httpx2.TransportError:
            return False


@contextmanager
def serving(app: str, folder: Path, environ: dict[str, str], log: Path) -> Iterator[Api]:
    """Run uvicorn in `folder` until the block ends."""
    port = ports.choose(random.randint(20_000, 32_000))
    command = [sys.executable, "-m", "uvicorn", app, f"--port={port}"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=output)
    api = Api(f"http://127.0.0.1:{port}", log)
    try:
        wait_for(lambda: api.answers() or server.poll() is not None, log.read_text)
        assert server.poll() is None, log.read_text(encoding="utf-8")
        yield api
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE)


@pytest.fixture(scope="module")
def old_api(registered: Registered) -> Iterator[Api]:
    old = registered.old
    with serving("app:app", old.folder, old.environ(), old.folder / "server.log") as api:
        yield api


@pytest.fixture(scope="module")
def new_api(registered: Registered) -> Iterator[Api]:
    environ = clean_environment() | {
        "MODEL_DIR": str(registered.model_dir),
        "RECORD_PREDICTIONS": "false",
    }
    with serving("part6.app:app", ROOT, environ, registered.model_dir / "server.log") as api:
        yield api


def test_old_and_new_api_give_every_flower_the_same_class(old_api: Api, new_api: Api) -> None:
    flowers = [
        dict(zip(FEATURES, row, strict=True))
        for row in np.unique(load_iris().data, axis=0).tolist()
    ]

    new = httpx2.post(f"{new_api.address}/predict/batch", json={"rows": flowers}).json()
    with httpx2.Client(base_url=old_api.address, timeout=PATIENCE) as client:
        old = [client.post("/predict", json=flower).raise_for_status().json() for flower in flowers]

    classes = [answer["iris_class"] for answer in old]
    assert len(classes) == 149  # of the 150 measurements two are the same
    assert set(classes) == {0, 1, 2}
    assert [answer["iris_class"] for answer in new["predictions"]] == classes


def test_what_the_lists_say_of_requests_is_true(old_api: Api, new_api: Api) -> None:
    assert old_api.predict(FLOWER % "6.3").json() == {"iris_class": 2}
    assert new_api.predict(FLOWER % "6.3").json()["iris_class"] == 2

    for no_length in ("-5", "0", "1e9", "true", '"6.3"', '6.3, "colour": "blue"'):
        assert old_api.predict(FLOWER % no_length).status_code == 200, no_length
        assert new_api.predict(FLOWER % no_length).status_code == 422, no_length

    for no_number in ("NaN", "Infinity", "1e400"):
        assert old_api.predict(FLOWER % no_number).status_code == 500, no_number
        assert new_api.predict(FLOWER % no_number).status_code == 422, no_number
    log = old_api.log.read_text(encoding="utf-8")
    assert log.count("Exception in ASGI application") == 3
    assert "ValueError: Input X contains NaN" in log

    huge = FLOWER % f'6.3, "colour": "{"blue" * 500_000}"'
    assert old_api.predict(huge).status_code == 200
    assert new_api.predict(huge).status_code == 413

    for path in ("/model", "/health/live", "/health/ready", "/metrics"):
        assert httpx2.get(f"{old_api.address}{path}").status_code == 404
        assert httpx2.get(f"{new_api.address}{path}").status_code == 200


def test_the_old_download_takes_a_damaged_model_and_the_new_one_keeps_what_it_has(
    registered: Registered, mlflow_server: Mlflow
) -> None:
    before = read_manifest(registered.model_dir)
    zeros = bytes(20_000)

    with in_the_store(registered, mlflow_server, zeros):
        printed = registered.old.run(
            "download_model.py", "--model-name", "model", "--run-id", registered.run_id
        )
        with pytest.raises(WorkFailedError, match="are not those that were registered"):
            download_model(registered.name, onnx=True)

    assert printed.startswith("Downloaded :")
    assert (registered.old.folder / "model" / SKOPS).read_bytes() == zeros
    assert read_manifest(registered.model_dir) == before


@contextmanager
def in_the_store(registered: Registered, mlflow: Mlflow, content: bytes) -> Iterator[None]:
    """Let the artifact store hold `content` in place of the model's file."""
    from mlflow import MlflowClient

    source = MlflowClient(mlflow.uri).get_model_version_download_uri(registered.name, "1")
    path = source.removeprefix("mlflow-artifacts:/")
    file = f"{mlflow.uri}/api/2.0/mlflow-artifacts/artifacts/{path}/{SKOPS}"
    kept = httpx2.get(file, timeout=PATIENCE).raise_for_status().content
    httpx2.put(file, content=content, timeout=PATIENCE).raise_for_status()
    try:
        yield
    finally:
        httpx2.put(file, content=kept, timeout=PATIENCE).raise_for_status()
