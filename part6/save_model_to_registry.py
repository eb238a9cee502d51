"""Train a model and register it, so that this folder alone has something to serve.

uv run python -m part6.save_model_to_registry --model-name sk_model --promote

The short form of part 3's script of this name: the same rows, tags and files, without scores.
"""

import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from part6.command import DebugOption, WorkFailedError, run
from part6.file_hashes import digest, file_hashes
from part6.iris import FEATURES, LABELS
from part6.newest_rows import COLUMNS, newest_rows
from part6.registry import (
    CHAMPION,
    HASH_TAG,
    MODEL_HASH_TAG,
    ROWS_TAG,
    SNAPSHOT,
    ModelNameOption,
    connect,
    explained,
)
from part6.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

# What loading the model needs; MLflow would find it out in a second Python, which takes longer
# than the training.
REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")


def save_model_to_registry(
    model_name: ModelNameOption,
    rows: Annotated[int, typer.Option(min=1, help="Train on this many newest rows.")] = 1000,
    kernel: Annotated[
        Literal["rbf", "linear", "poly"], typer.Option(help="Kernel of the SVC.")
    ] = "rbf",
    promote: Annotated[
        bool, typer.Option("--promote", help="Move the champion even if there is one.")
    ] = False,
    if_none: Annotated[
        bool, typer.Option("--if-none", help="Do nothing if the model has a champion.")
    ] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Register a version trained on the newest rows; the first one becomes champion."""
    settings = load_settings()
    client = connect(settings)
    with explained(settings, f"nothing was registered as {model_name!r}"):
        champion = _champion(client, model_name)
        if champion is not None and if_none:
            print(f"champion: {model_name} version {champion}, nothing to do")
            return
        frame = _read(settings, rows)
        if frame["target"].nunique() < len(LABELS):
            raise WorkFailedError(
                f"the newest {len(frame)} rows do not have all {len(LABELS)} classes; take more "
                "with --rows"
            )
        number = _register(client, model_name, _train(frame, kernel), frame)
        print(f"model   {model_name} version {number} ({kernel}, {len(frame)} rows)")
        if champion is None or promote:
            client.set_registered_model_alias(model_name, CHAMPION, number)
            before = f" (was version {champion})" if champion else ""
            print(f"{CHAMPION}: {model_name} version {number}{before}")
        else:
            print(f"{CHAMPION}: {model_name} version {champion} stays; --promote moves it")


def _champion(client: "MlflowClient", model_name: str) -> str | None:
    found = client.search_registered_models(f"name = '{model_name}'", max_results=1)
    return found[0].aliases.get(CHAMPION) if found else None


def _read(settings: Settings, rows: int) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame.from_records(newest_rows(settings, rows), columns=list(COLUMNS))


def _train(frame: "pd.DataFrame", kernel: str) -> "Pipeline":
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC(kernel=kernel))])
    return pipeline.fit(frame[list(FEATURES)], frame["target"])


def _register(
    client: "MlflowClient", model_name: str, model: "Pipeline", frame: "pd.DataFrame"
) -> str:
    """Upload rows and model, read the model back, and give it a version with its tags."""
    import mlflow
    from mlflow.exceptions import MlflowException

    example = frame[list(FEATURES)].head(3)
    mlflow.set_experiment("iris")
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder, SNAPSHOT)
        frame.to_csv(snapshot, index=False, lineterminator="\n")
        mlflow.log_artifact(str(snapshot))
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=mlflow.models.infer_signature(example, model.predict(example)),
            input_example=example,
            serialization_format="skops",  # loading it cannot run code, unlike a pickle
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )
        uploaded = Path(folder, "model")
        uploaded.mkdir()
        mlflow.artifacts.download_artifacts(artifact_uri=info.model_uri, dst_path=str(uploaded))
        tags = {
            HASH_TAG: file_hashes(Path(folder))[SNAPSHOT],
            ROWS_TAG: str(len(frame)),
            MODEL_HASH_TAG: digest(file_hashes(uploaded)),
        }
        try:
            client.create_registered_model(model_name)
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            model_name,
            source=info.model_uri,
            run_id=run.info.run_id,
            tags=tags,
            model_id=info.model_id,
        )
    return str(made.version)


if __name__ == "__main__":
    run(save_model_to_registry)
