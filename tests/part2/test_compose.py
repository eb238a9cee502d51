"""Part 2 in containers: up, used, its database killed, up again with its data, down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from part2.artifacts import load_model
from part2.dataset import load_dataset, split_measurements
from part2.evaluation import evaluate
from tests.compose import Compose
from tests.conftest import RunModule
from tests.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1200)]

HEALTHY = {
    "postgres-server": "running (healthy)",
    "data-generator": "running (healthy)",
    "trainer": "running (healthy)",
}


def rows_in(project: Compose) -> list[int]:
    """The ids in the table, asked from the host."""
    with (
        psycopg.connect(
            host="localhost",
            port=project.ports["POSTGRES_PORT"],
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
        ) as connection,
    ):
        return [row for (row,) in connection.execute("SELECT id FROM iris_data ORDER BY id")]


def saved_metrics(project: Compose) -> dict[str, Any]:
    text = project.run("exec", "-T", "trainer", "cat", "artifacts/part2/db/metrics.json")
    metrics: dict[str, Any] = json.loads(text)
    return metrics


def newer_metrics(project: Compose, created: str) -> dict[str, Any]:
    wait_for(
        lambda: saved_metrics(project)["created"] > created,
        lambda: project.run("logs", "--tail=20", "trainer"),
    )
    return saved_metrics(project)


def test_part_2_comes_up_trains_survives_its_database_and_goes_down(
    compose: Callable[..., Compose],
    run_module: RunModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAIN_INTERVAL", "10")
    project = compose("part2")

    project.up()
    assert project.states() == HEALTHY
    assert len(rows_in(project)) >= 1000
    for service in ("data-generator", "trainer"):
        assert project.run("exec", "-T", service, "id", "-u").strip() == "10001"

    # The model of the container is whole, and good on the host.
    project.run("cp", "trainer:/app/artifacts/part2/db", str(tmp_path / "model"))
    model = load_model(tmp_path / "model", "model")
    iris = split_measurements(load_dataset(None))
    assert evaluate(model.predict, iris).valid_accuracy > 0.85
    printed = run_module("part2.db_train", env=project.environ, check=True).stdout
    assert "Rows : 1000" in printed

    before = rows_in(project)
    project.kill("postgres-server")
    assert project.states()["postgres-server"].startswith("exited")
    killed = saved_metrics(project)["created"]

    project.up()
    assert project.states() == HEALTHY
    after = rows_in(project)
    assert len(after) >= len(before)
    assert after == list(range(1, len(after) + 1))  # nothing lost, nothing twice
    assert newer_metrics(project, killed)["valid_accuracy"] > 0.85

    project.run("stop")
    ended = project.run("ps", "--all", "--format", "{{.Service}} {{.ExitCode}}")
    assert sorted(ended.split("\n"))[-3:] == ["data-generator 0", "postgres-server 0", "trainer 0"]
