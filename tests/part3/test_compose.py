"""Part 3 in containers: up from a clean clone, used from the host, killed, and up again."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.compose import Compose
from tests.part3.conftest import LOAD, PROMOTE, SAVE, new_name, only_line

if TYPE_CHECKING:
    from tests.conftest import RunModule

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1200)]

FILES = {
    "minio": ["compose.yaml"],
    "rustfs": ["compose.yaml", "compose.rustfs.yaml"],
}


@pytest.mark.parametrize("store", FILES)
def test_the_registry_comes_up_survives_a_kill_and_keeps_its_models(
    compose: Callable[..., Compose], run_module: "RunModule", store: str
) -> None:
    project = compose("part3", *FILES[store])
    project.up()
    states = project.states()
    assert states.pop("create-bucket").startswith("exited")
    assert set(states.values()) == {"running (healthy)"}, states

    name = new_name()
    environ = project.environ

    def load() -> str:
        alias = ("--model-name", name, "--alias", "champion")
        return run_module(LOAD, *alias, env=environ, check=True).stdout

    run_module(SAVE, "--model-name", name, env=environ, check=True)
    run_module(PROMOTE, "--model-name", name, env=environ, check=True)
    loaded = load()
    assert f"{name} version 1 @champion" in loaded

    project.kill("mlflow-artifact-store")
    done = run_module(SAVE, "--model-name", name, env=environ)
    assert done.returncode == 1
    assert "its artifact store (S3) or its database is down" in only_line(done.stderr)
    for service in ("mlflow-backend-store", "mlflow-server"):
        project.kill(service)
    done = run_module(LOAD, "--model-name", name, env=environ | {"MLFLOW_WAIT_SECONDS": "1"})
    assert done.returncode == 1
    assert "no MLflow at" in only_line(done.stderr)

    project.up()
    assert load() == loaded
    project.run("down")  # without --volumes: the containers go, the data stay
    project.up()
    assert load() == loaded


def test_no_server_of_ours_runs_as_root_and_no_foreign_name_is_answered(
    compose: Callable[..., Compose],
) -> None:
    project = compose("part3")
    project.up()
    for service in ("mlflow-server", "data-generator"):
        assert project.run("exec", service, "id", "-u").strip() == "10001"
    ask = (
        "import urllib.request as u; "
        "r = u.Request('http://mlflow-server:5001/api/2.0/mlflow/experiments/search"
        "?max_results=1', headers={'Host': HOST}); print(u.urlopen(r).status)"
    )
    inside = ("exec", "data-generator", "python", "-c")
    assert project.run(*inside, ask.replace("HOST", "'mlflow-server:5001'")).strip() == "200"
    assert "403" in project.run(*inside, ask.replace("HOST", "'evil.example'"), check=False)
