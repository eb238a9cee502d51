"""Load a registered model and prove it: score it again on the rows it was trained with.

uv run python -m part3.load_model_from_registry --model-name sk_model --alias champion
"""

import logging
import re
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from part3.command import BadUsageError, DebugOption, WorkFailedError, run
from part3.dataset import Split, from_csv, sha256, split
from part3.iris import FEATURES, LABEL_NAMES
from part3.registry import (
    CHAMPION,
    HASH_TAG,
    SNAPSHOT,
    ModelNameOption,
    connect,
    explained,
    find_model,
    unknown_version,
    versions_of,
)
from part3.settings import load_settings
from part3.training import features, score

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)


def load_model_from_registry(
    model_name: ModelNameOption,
    run_id: Annotated[str | None, typer.Option(help="The version that this run made.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The version of this number.")] = None,
    alias: Annotated[
        str | None, typer.Option(help=f"The version of this alias (default: {CHAMPION}).")
    ] = None,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Load one version of a model, verify its data, score it again and predict one flower."""
    check_choice(run_id, version, alias)
    settings = load_settings()
    client = connect(settings)
    with explained(settings, f"{model_name!r} was not loaded"):
        chosen = find_version(client, model_name, run_id, version, alias)
        made_by = find_run(client, chosen)
        with tempfile.TemporaryDirectory() as folder:
            data, digest = download_data(client, chosen, made_by, Path(folder))
            model = download_model(chosen, Path(folder))

    scores = score(model, data)
    logged = made_by.data.metrics.get("valid_accuracy")
    aliases = "".join(f" @{name}" for name in sorted(chosen.aliases))
    print(f"model   {model_name} version {chosen.version}{aliases}")
    print(f"run     {chosen.run_id}")
    print(f"data    {len(data.train) + len(data.valid)} rows, SHA-256 {digest} as tagged")
    print(f"Train Accuracy : {scores.train_accuracy}")
    print(f"Valid Accuracy : {scores.valid_accuracy}")
    # Both are the same quotient of two counts; the tolerance is for a store that keeps decimals.
    if logged is None or abs(scores.valid_accuracy - logged) > 1e-9:
        raise WorkFailedError(
            f"the valid accuracy is {scores.valid_accuracy}, but run {chosen.run_id} logged "
            f"{logged}: this is not the model that was validated; do not serve it"
        )
    print(f"same as logged : {logged}")
    flower = data.valid.tail(1)
    predicted = LABEL_NAMES[int(model.predict(features(flower))[0])]
    measured = ", ".join(f"{name} {flower[name].item()}" for name in FEATURES)
    print(f"{measured} -> {predicted} (true: {LABEL_NAMES[flower['target'].item()]})")


def check_choice(run_id: str | None, version: int | None, alias: str | None) -> None:
    """Raise BadUsageError unless at most one is given and it has a possible form."""
    if sum(choice is not None for choice in (run_id, version, alias)) > 1:
        raise BadUsageError("--run-id, --version and --alias exclude each other; give one of them")
    if run_id is not None and not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise BadUsageError(f"--run-id is {run_id!r}: a run id has 32 hexadecimal digits")
    if alias is not None and not re.fullmatch(r"[\w-]{1,255}", alias):
        raise BadUsageError(
            f"--alias is {alias!r}: an alias has letters, digits, dashes and underscores only"
        )


def find_version(
    client: "MlflowClient",
    model_name: str,
    run_id: str | None,
    version: int | None,
    alias: str | None,
) -> "ModelVersion":
    """Find the version that run, number or alias (default: champion) names.

    Raises:
        WorkFailedError: there is none; the message lists what there is.
    """
    aliases: dict[str, str] = find_model(client, model_name).aliases
    if run_id is None and version is None:
        alias = alias or CHAMPION
        if alias not in aliases:
            there = ", ".join(f"{name} (version {aliases[name]})" for name in sorted(aliases))
            raise WorkFailedError(
                f"{model_name!r} has no alias {alias!r} (there: {there or 'none'}); set "
                f"{CHAMPION} with `uv run python -m part3.promote_model --model-name {model_name}`"
            )
        version = int(aliases[alias])
    versions = versions_of(client, model_name)
    if version is not None:
        chosen = next((v for v in versions if int(v.version) == version), None)
        if chosen is None:
            raise unknown_version(model_name, version, [int(v.version) for v in versions])
    else:
        # Registered twice, a run has two versions of one model; the newer number stands for both.
        chosen = next((v for v in reversed(versions) if v.run_id == run_id), None)
        if chosen is None:
            raise _no_version_of_run(client, model_name, str(run_id), versions)
    return client.get_model_version(model_name, chosen.version)  # with its aliases


def find_run(client: "MlflowClient", version: "ModelVersion") -> "Run":
    """Find the run that made `version`.

    Raises:
        WorkFailedError: the version is not from this part and does not say what it learned from.
    """
    if version.run_id and HASH_TAG in version.tags:
        run = client.get_run(version.run_id)
        if {"train_size", "random_state"} <= run.data.params.keys():
            return run
    raise WorkFailedError(
        f"version {version.version} does not name its run and its data (tag {HASH_TAG}): it was "
        "not made by part3.save_model_to_registry"
    )


def download_data(
    client: "MlflowClient", version: "ModelVersion", run: "Run", folder: Path
) -> tuple[Split, str]:
    """Download the logged snapshot and split it as the run did; return the split and the SHA-256.

    Raises:
        WorkFailedError: the snapshot is gone, or not what the version was trained on.
    """
    import mlflow

    # Asked for a file that is gone, the server answers as if the store were down.
    if SNAPSHOT not in {file.path for file in client.list_artifacts(version.run_id)}:
        raise WorkFailedError(
            f"the artifact store has lost {SNAPSHOT} of run {version.run_id}; save the model again"
        )
    tagged, params = version.tags[HASH_TAG], run.data.params
    # By its own address, not as runs:/...: on that way MLflow loses the reason of a failure.
    path = mlflow.artifacts.download_artifacts(
        artifact_uri=f"{run.info.artifact_uri}/{SNAPSHOT}", dst_path=str(folder)
    )
    snapshot = Path(path).read_bytes()
    if (digest := sha256(snapshot)) != tagged:
        raise WorkFailedError(
            f"{SNAPSHOT} of run {version.run_id} was changed: its SHA-256 is {digest}, version "
            f"{version.version} is tagged {tagged}; save the model again"
        )
    data = split(
        from_csv(snapshot),
        train_size=float(params["train_size"]),
        random_state=int(params["random_state"]),
    )
    return data, digest


def download_model(version: "ModelVersion", folder: Path) -> "Pipeline":
    """Download the model and load it, if loading cannot run code that somebody put into it.

    Raises:
        WorkFailedError: it is gone, a pickle, or asks to trust more than scikit-learn's types.
    """
    import mlflow

    target = folder / "model"
    target.mkdir()
    path = mlflow.artifacts.download_artifacts(
        artifact_uri=f"models:/{version.name}/{version.version}", dst_path=str(target)
    )
    flavor = mlflow.models.Model.load(path).flavors.get("sklearn", {})
    # MLflow trusts what the model file itself lists; an uploader could have listed anything.
    if flavor.get("serialization_format") != "skops" or flavor.get("skops_trusted_types"):
        raise WorkFailedError(
            f"version {version.version} is not a plain skops model of scikit-learn's own types; "
            "loading it could run foreign code"
        )
    if not Path(path, str(flavor["pickled_model"])).is_file():
        raise WorkFailedError(
            f"the artifact store has lost the model of version {version.version}; save it again"
        )
    if (made_with := flavor.get("sklearn_version")) != installed_version("scikit-learn"):
        log.warning("saved by scikit-learn %s, loaded by another version", made_with)
    return mlflow.sklearn.load_model(path)


def _no_version_of_run(
    client: "MlflowClient", model_name: str, run_id: str, versions: list["ModelVersion"]
) -> WorkFailedError:
    from mlflow.exceptions import MlflowException

    there = ", ".join(f"{v.run_id} (version {v.version})" for v in versions[-3:])
    try:
        client.get_run(run_id)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return WorkFailedError(
            f"there is no run {run_id}; the newest versions of {model_name!r} are from {there}"
        )
    others = client.search_model_versions(f"run_id = '{run_id}'")
    if others:
        owner = ", ".join(f"{v.name!r} version {v.version}" for v in others)
        return WorkFailedError(f"run {run_id} made {owner}, not a version of {model_name!r}")
    return WorkFailedError(
        f"run {run_id} registered no model (did it fail?); the newest versions of {model_name!r} "
        f"are from {there}"
    )


if __name__ == "__main__":
    run(load_model_from_registry)
