"""Part 6 in containers: from an empty registry to answers, another version, deaths and a return."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx2
import psycopg
import pytest

from tests.compose import Compose
from tests.part6.conftest import FLOWER
from tests.waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from tests.conftest import RunModule

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_a_model_is_trained_served_replaced_and_survives_what_dies(
    compose: Callable[..., Compose], run_module: "RunModule"
) -> None:
    project = compose("part6")
    project.up()
    states = project.states()
    for job in ("create-bucket", "train-model"):
        assert states.pop(job).startswith("exited")
    assert set(states.values()) == {"running (healthy)"}, states
    assert project.run("exec", "model-api", "id", "-u").strip() == "10001"

    api = httpx2.Client(
        base_url=f"http://localhost:{project.ports['MODEL_API_PORT']}", timeout=PATIENCE
    )
    sent = 0

    def predict() -> httpx2.Response:
        nonlocal sent
        sent += 1
        answer = api.post("/predict", json=FLOWER)
        assert answer.status_code == 200, answer.text
        return answer

    def recorded() -> int:
        with psycopg.connect(
            host="localhost",
            port=project.ports["POSTGRES_PORT"],
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
        ) as connection:
            found = connection.execute("SELECT count(*) FROM iris_prediction").fetchone()
        return int(found[0]) if found else 0

    def version() -> int:
        return int(predict().json()["model_version"])

    assert version() == 1
    assert api.get("/health/ready").json()["runtime"] == "onnxruntime"

    promote = ("--model-name", "sk_model", "--kernel", "linear", "--promote")
    saved = run_module("part6.save_model_to_registry", *promote, env=project.environ, check=True)
    assert "champion: sk_model version 2 (was version 1)" in saved.stdout
    wait_for(lambda: api.get("/model").json()["version"] == 2)
    assert version() == 2
    wait_for(lambda: recorded() == sent)

    project.kill("postgres-server")
    for _ in range(5):
        assert version() == 2
    project.up()
    wait_for(lambda: recorded() == sent)

    project.kill("model-api")
    with pytest.raises(httpx2.TransportError):
        api.get("/health/live")
    project.kill("mlflow-server")
    project.run("start", "model-api")  # with nobody to fetch a model from: it has one
    wait_for(lambda: project.states()["model-api"] == "running (healthy)")
    assert version() == 2

    project.run("stop", "model-api")  # SIGTERM: what waits is written
    assert recorded() == sent
    project.run("down")  # without --volumes: the containers go, the data stay
    project.up()
    assert version() == 2
    wait_for(lambda: recorded() == sent)
    api.close()
