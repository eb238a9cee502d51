"""The archive's compose files still work, with fixed names and ports moved out of the way."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from tests.archive.conftest import RUN_ID, accuracies, copy_archive
from tests.compose import Compose
from tests.conftest import ROOT, Database, Mlflow, RunModule
from tests.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]


def copied(part: str, folder: Path, ports: dict[str, str]) -> Compose:
    """A copy of an archived compose project with free ports and container names of its own."""
    for file in (ROOT / "archive" / part).iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    project = Compose(folder, ("docker-compose.yaml",))
    file = folder / "docker-compose.yaml"
    text = file.read_text(encoding="utf-8")
    moved = {
        fixed: f"{project.ports[variable]}:{fixed.split(':')[1]}"
        for fixed, variable in ports.items()
    }
    for old, new in {**moved, "container_name: ": f"container_name: {project.name}-"}.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return project


@pytest.fixture
def part1(tmp_path: Path) -> Iterator[Compose]:
    """The archive's database and generator."""
    project = copied("part1", tmp_path, {"5432:5432": "POSTGRES_PORT"})
    yield project
    project.down()


@pytest.fixture
def part3(tmp_path: Path) -> Iterator[Compose]:
    """The archive's MLflow with its two stores."""
    ports = {"5001:5000": "MLFLOW_PORT", "9000:9000": "S3_PORT", "9001:9001": "S3_CONSOLE_PORT"}
    project = copied("part3", tmp_path, ports)
    yield project
    project.down()


@pytest.fixture
def part6(tmp_path: Path) -> Iterator[Compose]:
    """The archive's model API."""
    project = copied("part6", tmp_path, {"8000:8000": "MODEL_API_PORT"})
    yield project
    project.down()


def rows(port: int) -> int:
    """How many rows there are; 0 while the server or the table is not there yet."""
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=port,
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
            connect_timeout=5,
        ) as connection:
            counted = connection.execute("SELECT count(*) FROM iris_data").fetchone()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return 0
    assert counted is not None
    return int(counted[0])


def test_the_generator_fills_the_database_of_its_compose_file(part1: Compose) -> None:
    part1.run("up", "--build", "--detach")

    # The generator sleeps five seconds whenever the database is not ready.
    wait_for(lambda: rows(part1.ports["POSTGRES_PORT"]) >= 2)


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        return requests.get(url, timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def test_a_model_survives_the_death_of_both_stores_of_its_compose_file(
    part3: Compose, database: Database, run_module: RunModule, tmp_path: Path
) -> None:
    run_module("part1.data_generator", "--count", "200", "--bulk", env=database.environ, check=True)
    part3.run("up", "--build", "--detach")
    uri = f"http://localhost:{part3.ports['MLFLOW_PORT']}"
    wait_for(lambda: answers(f"{uri}/health"))
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    old = copy_archive("part3", scripts, database, Mlflow(uri, part3.ports["S3_PORT"]))

    saved = old.run("save_model_to_registry.py", "--model-name", "sk_model")
    run_id = RUN_ID.search(saved)
    assert run_id is not None, saved
    for store in ("mlflow-backend-store", "mlflow-artifact-store"):
        part3.kill(store)
    part3.run("up", "--detach")
    loaded = old.run(
        "load_model_from_registry.py", "--model-name", "sk_model", "--run-id", run_id[1]
    )

    assert accuracies(loaded) == accuracies(saved)


def test_the_api_of_its_compose_file_serves_the_model_that_was_downloaded(
    part6: Compose,
    database: Database,
    mlflow_server: Mlflow,
    run_module: RunModule,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run_module("part1.data_generator", "--count", "200", "--bulk", env=database.environ, check=True)
    training = copy_archive("part3", tmp_path_factory.mktemp("part3"), database, mlflow_server)
    run_id = RUN_ID.search(training.run("save_model_to_registry.py"))
    assert run_id is not None
    old = copy_archive("part6", part6.folder, mlflow=mlflow_server)
    old.run("download_model.py", "--run-id", run_id[1])

    part6.run("up", "--build", "--detach")

    api = f"http://localhost:{part6.ports['MODEL_API_PORT']}"
    wait_for(lambda: answers(f"{api}/openapi.json"))
    virginica = {
        "sepal_length": 6.3,
        "sepal_width": 3.3,
        "petal_length": 6.0,
        "petal_width": 2.5,
    }
    answer = requests.post(f"{api}/predict", json=virginica, timeout=PATIENCE)
    assert answer.json() == {"iris_class": 2}
