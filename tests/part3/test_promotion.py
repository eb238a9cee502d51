"""Which version becomes champion, and when the present one stays."""

import math
from typing import TYPE_CHECKING

import pytest

from part3.command import WorkFailedError
from part3.promote_model import Candidate, choose, why_not
from tests.part3.conftest import PROMOTE, Saved, new_name, only_line, save

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.conftest import Mlflow, RunModule

METRIC = "valid_accuracy"


def candidate(number: int, value: float | None, data: str = "same") -> Candidate:
    return Candidate(number, data, "600", {} if value is None else {METRIC: value})


def versions(client: "MlflowClient", *values: float | None) -> str:
    """Register a model with one version for each value of the metric; None logs no metric."""
    name = new_name()
    experiment = client.create_experiment(name)
    client.create_registered_model(name)
    for value in values:
        run = client.create_run(experiment)
        if value is not None:
            client.log_metric(run.info.run_id, METRIC, value)
        client.log_metric(run.info.run_id, "other", 1.0)
        client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
    return name


def test_the_version_with_the_highest_metric_is_chosen() -> None:
    candidates = [candidate(1, 0.9), candidate(2, 0.95), candidate(3, 0.93)]
    assert choose(candidates, METRIC, None, None, "m").number == 2


def test_of_equals_the_champion_is_chosen_and_without_one_the_newest() -> None:
    candidates = [candidate(1, 0.95), candidate(2, 0.95), candidate(3, 0.95)]
    assert choose(candidates, METRIC, None, candidates[1], "m").number == 2
    assert choose(candidates, METRIC, None, None, "m").number == 3


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_version_without_a_finite_metric_is_passed_over_but_refused_when_asked_for(
    value: float | None,
) -> None:
    candidates = [candidate(1, 0.5), candidate(2, value)]
    assert choose(candidates, METRIC, None, None, "m").number == 1
    with pytest.raises(WorkFailedError, match="compares with nothing"):
        choose(candidates, METRIC, 2, None, "m")


def test_a_metric_that_nobody_logged_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(WorkFailedError, match="no version of 'm' has metric 'auc'; there is valid"):
        choose([candidate(1, 0.5)], "auc", None, None, "m")


def test_metrics_that_are_all_nan_are_refused() -> None:
    with pytest.raises(WorkFailedError, match="finite"):
        choose([candidate(1, math.nan)], METRIC, None, None, "m")


def test_a_better_version_replaces_the_champion() -> None:
    assert why_not(candidate(2, 0.96), candidate(1, 0.95), METRIC, force=False) is None


def test_a_worse_version_is_refused_with_both_numbers_unless_forced() -> None:
    worse, champion = candidate(2, 0.9), candidate(1, 0.95)
    with pytest.raises(WorkFailedError, match=r"0\.9\).*champion version 1 .*0\.95.*--force"):
        why_not(worse, champion, METRIC, force=False)
    assert why_not(worse, champion, METRIC, force=True) is None


def test_a_tie_keeps_the_champion_unless_forced() -> None:
    equal, champion = candidate(2, 0.95), candidate(1, 0.95)
    assert "stays version 1" in str(why_not(equal, champion, METRIC, force=False))
    assert why_not(equal, champion, METRIC, force=True) is None


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_champion_without_the_metric_gives_way_with_a_warning(
    value: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Part 6 promotes a version without scores."""
    assert why_not(candidate(2, 0.95, "new"), candidate(1, value), METRIC, force=False) is None
    assert "different rows" not in caplog.text  # nothing is compared
    assert "champion version 1 has no valid_accuracy to compare with: version 2" in caplog.text


def test_a_comparison_across_different_rows_is_pointed_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    why_not(candidate(2, 0.96, "new"), candidate(1, 0.95, "old"), METRIC, force=False)
    assert "different rows" in caplog.text
    caplog.clear()
    why_not(candidate(2, 0.96), candidate(1, 0.95), METRIC, force=False)
    assert caplog.text == ""


def test_promoting_moves_the_alias_to_the_best_and_force_to_a_worse_one(
    run_module: "RunModule", client: "MlflowClient", mlflow_server: "Mlflow"
) -> None:
    name = versions(client, 0.91, 0.97, None, 0.93)

    def champion() -> str:
        return str(client.get_model_version_by_alias(name, "champion").version)

    best = run_module(PROMOTE, "--model-name", name, env=mlflow_server.environ, check=True)
    assert champion() == "2"
    assert f"champion: {name} version 2" in best.stdout
    assert "0.91000" in best.stdout
    assert "0.93000" in best.stdout

    worse = ["--model-name", name, "--version", "4"]
    refused = run_module(PROMOTE, *worse, env=mlflow_server.environ)
    assert refused.returncode == 1
    assert "0.93" in only_line(refused.stderr)
    assert "0.97" in only_line(refused.stderr)
    assert champion() == "2"

    forced = run_module(PROMOTE, *worse, "--force", env=mlflow_server.environ, check=True)
    assert "version 4 (was version 2)" in forced.stdout
    assert champion() == "4"


def test_the_same_rows_give_the_same_hash_and_no_new_champion(
    run_module: "RunModule", client: "MlflowClient", saved: Saved
) -> None:
    again = save(run_module, saved.environ, fresh=True)  # with other hashes of strings
    one = client.get_model_version(again.name, "1")
    # The hash of the model's files is its own: they name the run and the time.
    tags = client.get_model_version(saved.name, "1").tags
    assert {**one.tags, "model_sha256": ""} == {**tags, "model_sha256": ""}
    run_module(PROMOTE, "--model-name", again.name, env=saved.environ, check=True)
    model_id = one.source.removeprefix("models:/")
    client.create_model_version(again.name, one.source, again.run_id, one.tags, model_id=model_id)
    tie = run_module(PROMOTE, "--model-name", again.name, env=saved.environ, check=True)
    assert "champion stays version 1" in tie.stdout
    assert client.get_model_version_by_alias(again.name, "champion").version == "1"


def test_a_metric_and_a_version_that_are_not_there_are_refused_in_one_line(
    run_module: "RunModule", client: "MlflowClient", mlflow_server: "Mlflow"
) -> None:
    name = versions(client, 0.91)
    for option, value, said in (("--metric", "auc", METRIC), ("--version", "7", "newest there: 1")):
        done = run_module(PROMOTE, "--model-name", name, option, value, env=mlflow_server.environ)
        assert done.returncode == 1
        assert said in only_line(done.stderr)
    assert client.get_registered_model(name).aliases == {}
