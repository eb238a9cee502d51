"""What makes the folder self-sufficient: rows in the database and a bucket in the store."""

import subprocess
import sys
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import ROOT, clean_environment
from tests.part3.conftest import only_line

if TYPE_CHECKING:
    from tests.conftest import Database, Mlflow, RunModule

SEED = "part3.seed_database"


def test_seeding_fills_up_to_the_number_and_never_beyond(
    run_module: "RunModule", database: "Database"
) -> None:
    assert run_module(SEED, "--check", env=database.environ).returncode == 1
    for rows, expected in (("40", 40), ("150", 150), ("100", 150)):
        run_module(SEED, "--rows", rows, env=database.environ, check=True)
        with database.connect() as connection:
            found = connection.execute("SELECT count(*), min(id), max(id) FROM iris_data")
            assert found.fetchone() == (expected, 1, expected)
    run_module(SEED, "--rows", "150", "--check", env=database.environ, check=True)
    assert "fewer than 151" in only_line(
        run_module(SEED, "--rows", "151", "--check", env=database.environ).stderr
    )


def test_rows_that_come_in_two_steps_are_those_that_come_in_one(
    run_module: "RunModule", database: "Database"
) -> None:
    def rows() -> list[tuple[object, ...]]:
        query = "SELECT id, sepal_length, petal_width, target FROM iris_data ORDER BY id"
        with database.connect() as connection:
            return connection.execute(query).fetchall()

    for step in ("30", "90"):
        run_module(SEED, "--rows", step, env=database.environ, check=True)
    in_two = rows()
    with database.connect() as connection:
        connection.execute("DROP TABLE iris_data")
    run_module(SEED, "--rows", "90", env=database.environ, check=True)
    assert rows() == in_two


def test_whoever_inserts_without_an_id_goes_on_behind_the_seeded_rows(
    run_module: "RunModule", database: "Database"
) -> None:
    run_module(SEED, "--rows", "10", env=database.environ, check=True)
    with database.connect() as connection:
        inserted = connection.execute(
            "INSERT INTO iris_data (sepal_length, sepal_width, petal_length, petal_width, target) "
            "VALUES (5, 3, 1, 0.2, 0) RETURNING id"
        )
        assert inserted.fetchone() == (11,)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_seeding_at_a_rate_goes_on_until_it_is_stopped(database: "Database") -> None:
    environ = clean_environment() | database.environ
    command = [sys.executable, "-m", SEED, "--rows", "20", "--rate", "5"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    ) as seeding:
        assert seeding.stderr is not None
        assert "iris_data has 20 rows" in seeding.stderr.readline()
        time.sleep(2.5)
        seeding.terminate()
        last = seeding.stderr.read().splitlines()[-1]
    assert seeding.returncode == 0
    with database.connect() as connection:
        found = connection.execute("SELECT count(*), max(id) FROM iris_data").fetchone()
    assert found is not None
    assert 25 <= found[0] <= 35
    assert found[0] == found[1]
    assert f"stopped; iris_data has {found[0]} rows" in last


def test_a_table_with_other_columns_is_left_alone(
    run_module: "RunModule", database: "Database"
) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id bigint, petal float)")
    done = run_module(SEED, env=database.environ)
    assert done.returncode == 1
    assert "other columns" in only_line(done.stderr)


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
