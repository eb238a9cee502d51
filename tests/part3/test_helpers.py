"""The bucket is made, and no script keeps `--help` waiting."""

import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import ROOT
from tests.part3.conftest import only_line

if TYPE_CHECKING:
    from tests.conftest import Mlflow, RunModule


def test_a_bucket_is_created_once(run_module: "RunModule", mlflow_server: "Mlflow") -> None:
    environ = {"S3_ENDPOINT_URL": f"http://127.0.0.1:{mlflow_server.s3_port}"}
    bucket = f"bucket-{uuid4().hex[:8]}"
    script = ("part3.create_bucket", "--bucket", bucket)
    assert f"{bucket} created" in run_module(*script, env=environ, check=True).stderr
    assert f"{bucket} is there already" in run_module(*script, env=environ, check=True).stderr
    refused = run_module(*script, env=environ | {"MINIO_ROOT_PASSWORD": "guess-7316"})
    assert refused.returncode == 1
    assert "refused the key" in only_line(refused.stderr)
    assert "guess-7316" not in refused.stderr


def test_a_store_that_is_not_up_is_named_with_the_command_that_starts_it(
    run_module: "RunModule",
) -> None:
    environ = {"S3_ENDPOINT_URL": "http://127.0.0.1:9", "S3_WAIT_SECONDS": "0.5"}
    done = run_module("part3.create_bucket", env=environ)
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert "no S3 at http://127.0.0.1:9" in line
    assert "docker compose up" in line


@pytest.mark.parametrize(
    "script",
    [
        "save_model_to_registry",
        "promote_model",
        "load_model_from_registry",
        "seed_database",
        "create_bucket",
    ],
)
def test_help_does_not_wait_for_mlflow_scikit_learn_or_boto3(script: str) -> None:
    heavy = "{'mlflow', 'sklearn', 'pandas', 'matplotlib', 'boto3', 'skops'}"
    code = f"import sys, part3.{script}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
