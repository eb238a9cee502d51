"""Servers that go away in the middle of the work, and stores that were tampered with."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from botocore.config import Config

from tests.conftest import ROOT, StartProxy, clean_environment
from tests.part3.conftest import LOAD, SAVE, new_name, only_line, save
from tests.waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mypy_boto3_s3 import S3Client

    from tests.conftest import Mlflow, RunModule


def port_of(uri: str) -> int:
    return int(uri.rsplit(":", 1)[1])


def names(client: "MlflowClient") -> set[str]:
    return {model.name for model in client.search_registered_models()}


def statuses(client: "MlflowClient", experiment: str) -> list[str]:
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return [run.info.status for run in runs]


@pytest.fixture
def s3(mlflow_server: "Mlflow") -> "S3Client":
    """The artifact store behind the shared MLflow server."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{mlflow_server.s3_port}",
        aws_access_key_id="minio",
        aws_secret_access_key="miniostorage",
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
        ),
    )


def key_of(client: "MlflowClient", run_id: str) -> str:
    """The key of a run's data.csv in the bucket."""
    location = client.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    return f"{location.lstrip('/')}/data.csv"


@pytest.mark.parametrize("moment", [b"model.skops", b"model-versions/create"])
def test_mlflow_that_goes_away_leaves_no_version(
    run_module: "RunModule",
    client: "MlflowClient",
    registry_environ: dict[str, str],
    proxy: StartProxy,
    moment: bytes,
) -> None:
    broken = proxy(port_of(registry_environ["MLFLOW_TRACKING_URI"]), cut_at=moment)
    environ = registry_environ | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{broken.port}"}
    name = new_name()
    started = time.monotonic()
    done = run_module(SAVE, "--model-name", name, env=environ)
    assert broken.was_cut
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert f"nothing was registered as {name!r}" in line
    assert "stopped answering" in line
    assert "run this again" in line
    assert time.monotonic() - started < 60
    assert not client.search_model_versions(f"name = '{name}'")


def answers(uri: str) -> bool:
    """Whether a server can be asked."""
    try:
        return requests.get(f"{uri}/version", timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


@contextmanager
def mlflow_on(s3_port: int, folder: Path) -> Iterator[str]:
    """Another MLflow server, whose artifact store is at `s3_port`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = clean_environment() | {
        "COURSE_MLFLOW_BACKEND": f"sqlite:///{folder}/mlflow.db",
        "COURSE_MLFLOW_ARTIFACTS": "s3://mlflow/",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": "minio",
        "AWS_SECRET_ACCESS_KEY": "miniostorage",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "course.services.mlflow_app", str(port)]
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(uri) or server.poll() is not None)
        assert server.poll() is None, (folder / "mlflow.log").read_text()
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its worker is a child of its own
        server.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_an_artifact_store_that_goes_away_leaves_a_failed_run_and_the_next_one_works(
    run_module: "RunModule",
    registry_environ: dict[str, str],
    mlflow_server: "Mlflow",
    proxy: StartProxy,
    tmp_path: Path,
) -> None:
    from mlflow import MlflowClient

    store = proxy(mlflow_server.s3_port, cut_at=b"model.skops")
    with mlflow_on(store.port, tmp_path) as uri:
        client = MlflowClient(uri)
        environ = registry_environ | {"MLFLOW_TRACKING_URI": uri}
        name = new_name()
        done = run_module(SAVE, "--model-name", name, "--experiment", name, env=environ)
        assert store.was_cut
        assert done.returncode == 1
        line = only_line(done.stderr)
        assert f"nothing was registered as {name!r}" in line
        assert "its artifact store (S3) or its database is down" in line
        assert name not in names(client)
        assert statuses(client, name) == ["FAILED"]

        store.cut_at = None
        store.start()
        run_module(SAVE, "--model-name", name, "--experiment", name, env=environ, check=True)
        run_module(LOAD, "--model-name", name, "--version", "1", env=environ, check=True)
        assert sorted(statuses(client, name)) == ["FAILED", "FINISHED"]

        store.cut()
        done = run_module(LOAD, "--model-name", name, "--version", "1", env=environ)
        assert done.returncode == 1
        assert "its artifact store (S3) or its database is down" in only_line(done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_a_stopped_save_leaves_a_failed_run_and_no_version(
    client: "MlflowClient", registry_environ: dict[str, str]
) -> None:
    name = new_name()
    command = [sys.executable, "-m", SAVE, "--model-name", name, "--experiment", name]
    environ = clean_environment() | registry_environ
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as saving:
        while saving.poll() is None and not statuses(client, name):
            time.sleep(0.02)
        saving.terminate()
        _, stderr = saving.communicate(timeout=PATIENCE)
    assert saving.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    assert statuses(client, name) == ["FAILED"]
    assert name not in names(client)


def test_changed_or_lost_data_and_a_wrong_accuracy_are_found_out(
    run_module: "RunModule",
    client: "MlflowClient",
    registry_environ: dict[str, str],
    s3: "S3Client",
) -> None:
    saved = save(run_module, registry_environ)

    def refused() -> tuple[str, str]:
        done = run_module(LOAD, "--model-name", saved.name, "--version", "1", env=saved.environ)
        assert done.returncode == 1
        return only_line(done.stderr), done.stdout

    logged = client.get_run(saved.run_id).data.metrics["valid_accuracy"]
    client.log_metric(saved.run_id, "valid_accuracy", 0.123)
    line, printed = refused()
    assert "logged 0.123" in line
    assert "->" not in printed
    client.log_metric(saved.run_id, "valid_accuracy", logged)

    key = key_of(client, saved.run_id)
    snapshot = s3.get_object(Bucket="mlflow", Key=key)["Body"].read()
    s3.put_object(Bucket="mlflow", Key=key, Body=snapshot.replace(b",2\n", b",1\n", 1))
    line, printed = refused()
    assert "data.csv" in line
    assert "was changed" in line
    assert printed == ""

    s3.delete_object(Bucket="mlflow", Key=key)
    line, _ = refused()
    assert f"has lost data.csv of run {saved.run_id}" in line
