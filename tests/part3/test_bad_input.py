"""What cannot be used is refused in one line with the remedy, before anything is registered."""

import pickle
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from part3.command import BadUsageError, WorkFailedError
from part3.load_model_from_registry import check_choice, find_run, find_version
from part3.settings import load_settings
from tests.part3.conftest import LOAD, PROMOTE, SAVE, Saved, new_name, only_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.conftest import Database, Mlflow, RunModule

NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "POSTGRES_PORT": "9"}
SOON = {"MLFLOW_WAIT_SECONDS": "0.5", "DB_WAIT_SECONDS": "0.5"}


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (SAVE, "group/model"),
        (PROMOTE, "group/model"),
        (LOAD, "group/model"),
        (LOAD, "a:b"),
        (LOAD, ".."),
        (LOAD, ""),
        (LOAD, "it's"),
    ],
)
def test_an_impossible_model_name_is_bad_usage_before_anything_starts(
    run_module: "RunModule", script: str, name: str
) -> None:
    done = run_module(script, "--model-name", name, env=NOWHERE)
    assert done.returncode == 2
    assert repr(name) in only_line(done.stderr)


@pytest.mark.parametrize(
    ("run_id", "version", "alias", "said"),
    [
        (None, 1, "champion", "give one of them"),
        ("0" * 32, 1, None, "give one of them"),
        ("latest", None, None, "--run-id is 'latest'"),
        (None, None, "a/b", "--alias is 'a/b'"),
    ],
)
def test_an_impossible_choice_of_a_version_is_bad_usage(
    run_id: str | None, version: int | None, alias: str | None, said: str
) -> None:
    with pytest.raises(BadUsageError, match=said):
        check_choice(run_id, version, alias)


@pytest.mark.parametrize(
    ("script", "options"),
    [(LOAD, ["--version", "0"]), (SAVE, ["--rows", "-5"]), (SAVE, ["--experiment", " "])],
)
def test_an_impossible_value_of_an_option_is_bad_usage(
    run_module: "RunModule", script: str, options: list[str]
) -> None:
    done = run_module(script, "--model-name", "sk_model", *options, env=NOWHERE)
    assert done.returncode == 2
    assert options[0] in only_line(done.stderr)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_TRACKING_URI", "localhost:5001"),
        ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        ("MLFLOW_WAIT_SECONDS", "0"),
        ("POSTGRES_PORT", "70000"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadUsageError, match=f"{variable} is '{value}'"):
        load_settings()


def test_an_address_without_http_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(BadUsageError, match="begins with http:// or https://"):
        load_settings()


def test_an_address_with_a_password_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    with pytest.raises(BadUsageError, match=r"is \(hidden\): .* holds no user and no password"):
        load_settings()


@pytest.mark.parametrize("script", [PROMOTE, LOAD])
def test_a_server_that_is_not_up_is_named_with_the_command_that_starts_it(
    run_module: "RunModule", script: str
) -> None:
    done = run_module(script, "--model-name", "sk_model", env=NOWHERE | SOON)
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert "http://127.0.0.1:9" in line
    assert "uv run course up part3" in line
    assert "docker compose up -d --wait" in line
    assert line.endswith("or correct MLFLOW_TRACKING_URI")
    assert "waiting for MLflow" in done.stderr


def test_save_without_mlflow_says_so_and_without_a_database_too(
    run_module: "RunModule", registry_environ: dict[str, str]
) -> None:
    no_mlflow = registry_environ | SOON | {"MLFLOW_TRACKING_URI": NOWHERE["MLFLOW_TRACKING_URI"]}
    done = run_module(SAVE, "--model-name", new_name(), env=no_mlflow)
    assert done.returncode == 1
    assert "no MLflow at" in only_line(done.stderr)
    no_database = registry_environ | SOON | {"POSTGRES_PORT": "9"}
    done = run_module(SAVE, "--model-name", new_name(), env=no_database)
    assert done.returncode == 1
    assert "no PostgreSQL at" in only_line(done.stderr)


def test_a_wrong_password_is_reported_without_showing_it(
    run_module: "RunModule", registry_environ: dict[str, str]
) -> None:
    environ = registry_environ | {"POSTGRES_PASSWORD": "guess-7316"}
    done = run_module(SAVE, "--model-name", new_name(), env=environ)
    assert done.returncode == 1
    assert "wrong password" in only_line(done.stderr)
    assert "guess-7316" not in done.stderr


def test_what_answers_but_is_not_mlflow_is_not_waited_for(run_module: "RunModule") -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = run_module(LOAD, "--model-name", "m", env={"MLFLOW_TRACKING_URI": uri})
    assert done.returncode == 1
    assert "is not MLflow (HTTP 403)" in only_line(done.stderr)


def test_rows_that_cannot_be_trained_on_register_nothing(
    run_module: "RunModule", database: "Database", mlflow_server: "Mlflow"
) -> None:
    environ = database.environ | mlflow_server.environ
    name = new_name()

    def refused() -> str:
        done = run_module(SAVE, "--model-name", name, env=environ)
        assert done.returncode == 1
        return only_line(done.stderr)

    line = refused()
    assert "has no table iris_data" in line
    assert "part1.data_generator --count 1000 --bulk" in line

    with database.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id bigint, petal float)")
        assert "other columns" in refused()
        connection.execute("DROP TABLE iris_data")
        run_module("part3.seed_database", "--rows", "4", env=environ, check=True)
        assert "too few" in refused()
        run_module("part3.seed_database", "--rows", "100", env=environ, check=True)
        connection.execute("ALTER TABLE iris_data DROP CONSTRAINT iris_data_petal_width_check")
        connection.execute("ALTER TABLE iris_data ALTER sepal_width DROP NOT NULL")
        connection.execute("UPDATE iris_data SET petal_width = 'NaN' WHERE id = 7")
        connection.execute("UPDATE iris_data SET sepal_width = NULL WHERE id = 9")
        line = refused()
        assert "id 7, 9)" in line
        assert "2 of 100 rows" in line


def test_a_model_run_version_or_alias_that_does_not_exist_is_refused_with_what_there_is(
    client: "MlflowClient", saved: Saved
) -> None:
    def refused(
        name: str, run_id: str | None = None, version: int | None = None, alias: str | None = None
    ) -> str:
        with pytest.raises(WorkFailedError) as failure:
            find_version(client, name, run_id, version, alias)
        return str(failure.value)

    missing = new_name()
    assert f"save_model_to_registry --model-name {missing}" in refused(missing)
    assert "newest there: 1" in refused(saved.name, version=2)
    client.set_registered_model_alias(saved.name, "shadow", "1")
    assert "there: shadow (version 1)" in refused(saved.name, alias="canary")
    line = refused(saved.name, run_id=uuid4().hex)
    assert "there is no run" in line
    assert saved.run_id in line

    other = new_name()
    run_id = client.create_run(client.get_run(saved.run_id).info.experiment_id).info.run_id
    client.create_registered_model(other)
    assert "registered no model" in refused(saved.name, run_id=run_id)
    version = client.create_model_version(other, f"runs:/{run_id}/model", run_id)
    line = refused(saved.name, run_id=run_id)
    assert f"made {other!r} version 1, not a version of {saved.name!r}" in line
    with pytest.raises(WorkFailedError, match=r"not made by part3"):
        find_run(client, version)


def test_a_run_that_does_not_exist_ends_with_status_1_and_one_line(
    run_module: "RunModule", saved: Saved
) -> None:
    missing = uuid4().hex
    done = run_module(LOAD, "--model-name", saved.name, "--run-id", missing, env=saved.environ)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"there is no run {missing}" in only_line(done.stderr)


def test_a_pickled_model_is_not_loaded(
    run_module: "RunModule", client: "MlflowClient", saved: Saved, tmp_path: Path
) -> None:
    from mlflow.models import Model

    model = Model()
    model.add_flavor("sklearn", pickled_model="model.pkl", serialization_format="pickle")
    model.save(tmp_path / "MLmodel")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps("anything"))
    client.log_artifacts(saved.run_id, str(tmp_path), "pickled")
    name = new_name()
    client.create_registered_model(name)
    source = f"{client.get_run(saved.run_id).info.artifact_uri}/pickled"
    tags = client.get_model_version(saved.name, "1").tags
    client.create_model_version(name, source, saved.run_id, tags=tags)
    done = run_module(LOAD, "--model-name", name, "--version", "1", env=saved.environ)
    assert done.returncode == 1
    assert "could run foreign code" in only_line(done.stderr)
