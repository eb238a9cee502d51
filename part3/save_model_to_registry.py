"""Train on the newest rows of the database and register the model with everything that made it.

uv run python -m part3.save_model_to_registry --model-name sk_model
"""

import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from part3.command import BadUsageError, DebugOption, WorkFailedError, run
from part3.dataset import RANDOM_STATE, TRAIN_SIZE, Split, read_frame, sha256, split, to_csv
from part3.file_hashes import digest, file_hashes
from part3.registry import (
    HASH_TAG,
    MODEL_HASH_TAG,
    ROWS_TAG,
    SNAPSHOT,
    ModelNameOption,
    connect,
    explained,
)
from part3.settings import load_settings
from part3.training import Scores, draw_confusion_matrix, features, score, train

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models.model import ModelInfo
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

# What loading the model needs. Named here because MLflow would find it out by loading the model
# in a second Python, which takes longer than everything else this script does.
REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")


def _valid_experiment(name: str) -> str:
    if not name.strip() or len(name) > 500:
        raise BadUsageError("--experiment needs a name of 1 to 500 characters, for example iris")
    return name


def save_model_to_registry(
    model_name: ModelNameOption,
    rows: Annotated[int, typer.Option(min=1, help="Train on this many newest rows.")] = 1000,
    experiment: Annotated[
        str, typer.Option(callback=_valid_experiment, help="MLflow experiment of the run.")
    ] = "iris",
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Train StandardScaler + SVC on the newest rows and register a version of the model."""
    stop_requested = _listen_for_stop()
    settings = load_settings()
    frame = read_frame(settings, rows)
    client = connect(settings)
    data = split(frame, train_size=TRAIN_SIZE, random_state=RANDOM_STATE)
    model = train(data.train)
    scores = score(model, data)
    log.info("trained on %d rows, validated on %d", len(data.train), len(data.valid))

    with explained(settings, f"nothing was registered as {model_name!r}"):
        import mlflow

        mlflow.set_experiment(experiment)
        with mlflow.start_run() as active:
            run_id = active.info.run_id
            info = _log_run(model, data, frame, scores)
            log.info("artifacts uploaded, reading them back")
            uploaded = _verify(info.model_uri, run_id, model, frame)
            if stop_requested():
                raise KeyboardInterrupt
            tags = {
                HASH_TAG: sha256(to_csv(frame)),
                ROWS_TAG: str(len(frame)),
                MODEL_HASH_TAG: digest(uploaded),
            }
            number = _register(client, model_name, info, tags)

    print(f"Train Accuracy : {scores.train_accuracy}")
    print(f"Valid Accuracy : {scores.valid_accuracy}")
    print(f"run     {run_id}")
    print(f"model   {model_name} version {number}")
    print(f"data    {len(frame)} rows, SHA-256 {tags[HASH_TAG]}")
    print(f"look    {settings.mlflow_tracking_uri}/#/models/{quote(model_name)}/versions/{number}")


def _listen_for_stop() -> Callable[[], bool]:
    """Make SIGTERM and Ctrl-C fail the run, so that none seems to go on for ever in MLflow's list.

    Returns whether one of them came: an exception that is raised while Python collects garbage is
    dropped, so what must not happen after a stop asks first.
    """
    came = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        came.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return came.is_set


def _log_run(model: "Pipeline", data: Split, frame: "pd.DataFrame", scores: Scores) -> "ModelInfo":
    """Log parameters, data, picture, model and metrics to the active run."""
    import mlflow

    mlflow.log_params(
        {
            "rows": len(frame),
            "first_id": int(frame["id"].min()),
            "last_id": int(frame["id"].max()),
            "train_rows": len(data.train),
            "valid_rows": len(data.valid),
            "train_size": TRAIN_SIZE,
            "random_state": RANDOM_STATE,
            "model": "StandardScaler + SVC",
            **{f"svc_{name}": value for name, value in model["svc"].get_params().items()},
        }
    )
    snapshot = to_csv(frame)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SNAPSHOT)
        path.write_bytes(snapshot)
        mlflow.log_artifact(str(path))
    mlflow.log_figure(draw_confusion_matrix(model, data), "confusion_matrix.png")

    dataset = mlflow.data.from_pandas(
        frame,
        targets="target",
        name="iris_data",
        digest=sha256(snapshot)[:36],  # MLflow keeps no more
    )
    mlflow.log_input(dataset, context="training")

    example = features(data.train).head(3)
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=mlflow.models.infer_signature(example, model.predict(example)),
        input_example=example,
        serialization_format="skops",  # loading it cannot run code, unlike a pickle
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )
    mlflow.log_metrics(scores.as_metrics(), model_id=info.model_id, dataset=dataset)
    return info


def _verify(
    model_uri: str, run_id: str, model: "Pipeline", frame: "pd.DataFrame"
) -> dict[str, str]:
    """Read back what was uploaded; only what can be loaded again is worth a version number.

    Returns the SHA-256 of each file of the model.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=mlflow.get_artifact_uri(SNAPSHOT), dst_path=folder
        )
        same_data = Path(path).read_bytes() == to_csv(frame)
        model_folder = Path(folder, "model")
        model_folder.mkdir()
        mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(model_folder))
        uploaded = file_hashes(model_folder)
        again = mlflow.sklearn.load_model(str(model_folder))
    inputs = features(frame)
    if not same_data or (again.predict(inputs) != model.predict(inputs)).any():
        raise WorkFailedError(
            f"nothing was registered: the artifact store gave back something else than was "
            f"uploaded to run {run_id}; check the store, then run this again"
        )
    return uploaded


def _register(client: "MlflowClient", name: str, info: "ModelInfo", tags: dict[str, str]) -> str:
    from mlflow.exceptions import MlflowException

    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        try:
            client.create_registered_model(name)
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody saved in this moment
                raise
    # The tags come with the version: there is no moment in which it lacks them.
    registered = client.create_model_version(
        name, source=info.model_uri, run_id=info.run_id, tags=tags, model_id=info.model_id
    )
    return str(registered.version)


if __name__ == "__main__":
    run(save_model_to_registry)
