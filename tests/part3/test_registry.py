"""Save, promote and load a model, on a real MLflow with a real database and artifact store."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from part3.load_model_from_registry import load_model_from_registry
from tests.part3.conftest import LOAD, Saved, only_line, save

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.conftest import RunModule


def test_save_prints_run_version_accuracies_and_address(saved: Saved) -> None:
    printed = saved.printed
    assert "Train Accuracy : 0.9" in printed
    assert "Valid Accuracy : " in printed
    assert f"{saved.name} version 1" in printed
    assert f"{saved.environ['MLFLOW_TRACKING_URI']}/#/models/{saved.name}/versions/1" in printed


def test_nothing_but_our_own_lines_is_printed_while_saving(
    run_module: "RunModule", registry_environ: dict[str, str]
) -> None:
    saved = save(run_module, registry_environ, fresh=True)  # MLflow is imported after its settings
    log = [line.split(" ", 1)[1] for line in saved.stderr.splitlines()]
    assert re.fullmatch(r"trained on \d+ rows, validated on \d+", log[0])
    assert log[1:] == ["artifacts uploaded, reading them back"]
    assert len(saved.printed.splitlines()) == 6


def test_the_version_is_tagged_with_the_hash_of_the_logged_rows(
    saved: Saved, client: "MlflowClient", tmp_path: Path
) -> None:
    version = client.get_model_version(saved.name, "1")
    snapshot = Path(client.download_artifacts(saved.run_id, "data.csv", str(tmp_path))).read_bytes()
    assert version.run_id == saved.run_id
    assert version.tags["data_sha256"] == hashlib.sha256(snapshot).hexdigest()
    assert version.tags["data_rows"] == "600"
    assert snapshot.count(b"\n") == 601
    assert version.tags["data_sha256"] in saved.printed


def test_the_run_holds_parameters_metrics_data_and_picture(
    saved: Saved, client: "MlflowClient"
) -> None:
    run = client.get_run(saved.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["random_state"] == "2022"
    assert run.data.params["train_size"] == "0.8"
    assert run.data.params["svc_C"] == "1.0"
    assert int(run.data.params["train_rows"]) + int(run.data.params["valid_rows"]) == 600
    assert set(run.data.metrics) == {"train_accuracy", "valid_accuracy", "valid_f1_macro"}
    assert run.data.metrics["valid_accuracy"] > 0.8
    assert [used.dataset.name for used in run.inputs.dataset_inputs] == ["iris_data"]
    logged = {file.path for file in client.list_artifacts(saved.run_id)}
    assert {"data.csv", "confusion_matrix.png"} <= logged


def test_the_model_has_signature_example_safe_format_and_pinned_requirements(
    saved: Saved, client: "MlflowClient", tmp_path: Path
) -> None:
    import mlflow

    mlflow.set_tracking_uri(saved.environ["MLFLOW_TRACKING_URI"])
    path = mlflow.artifacts.download_artifacts(f"models:/{saved.name}/1", dst_path=str(tmp_path))
    model = mlflow.models.Model.load(path)
    assert model.signature.inputs.input_names() == [
        "sepal_length",
        "sepal_width",
        "petal_length",
        "petal_width",
    ]
    assert model.signature.outputs is not None
    assert len(model.load_input_example(path)) == 3
    assert model.flavors["sklearn"]["serialization_format"] == "skops"
    assert Path(path, "model.skops").is_file()
    requirements = Path(path, "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert {"scikit-learn", "skops"} <= {line.split("==")[0] for line in requirements}


def test_a_run_a_version_and_an_alias_lead_to_the_same_model_with_the_logged_accuracy(
    run_module: "RunModule",
    client: "MlflowClient",
    saved: Saved,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.set_registered_model_alias(saved.name, "shadow", "1")
    logged = client.get_run(saved.run_id).data.metrics["valid_accuracy"]
    shadow = ("--model-name", saved.name, "--alias", "shadow")
    done = run_module(LOAD, *shadow, env=saved.environ, check=True, fresh=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"model   {saved.name} version 1 @shadow"
    assert lines[1] == f"run     {saved.run_id}"
    assert lines[5] == f"same as logged : {logged}"
    assert lines[6].startswith("sepal_length ")
    assert re.search(r" -> (\w+) \(true: \w+\)$", lines[6])

    for variable, value in saved.environ.items():
        monkeypatch.setenv(variable, value)
    load_model_from_registry(saved.name, run_id=saved.run_id)
    assert capsys.readouterr().out == done.stdout
    load_model_from_registry(saved.name, version=1)
    assert capsys.readouterr().out == done.stdout


def test_load_takes_the_champion_where_nothing_is_asked_for(
    run_module: "RunModule", saved: Saved
) -> None:
    done = run_module(LOAD, "--model-name", saved.name, env=saved.environ)
    assert done.returncode == 1
    line = only_line(done.stderr)
    assert "no alias 'champion'" in line
    assert f"part3.promote_model --model-name {saved.name}" in line
