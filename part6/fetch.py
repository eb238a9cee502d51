"""Fetch the files of a model version: with progress, with retries, and verified."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import stamina
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from part6.command import WorkFailedError
from part6.file_hashes import digest, file_hashes
from part6.registry import HASH_TAG, MODEL_HASH_TAG, SNAPSHOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

TRIES = 4


def fetch_model(version: "ModelVersion", folder: Path) -> bool:
    """Download all files of `version` into `folder`; return whether there was a checksum.

    Raises:
        WorkFailedError: a file is not there, or they are not those that were registered.
    """
    uri = f"models:/{version.name}/{version.version}"
    files = list(_files(uri))
    if not any(file.path == "MLmodel" for file in files):
        raise WorkFailedError(
            f"the artifact store has lost the model of version {version.version}; save it again"
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)  # what a program reads of us stays free of it
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=sum(file.file_size or 0 for file in files))
        for file in files:
            progress.update(bar, description=file.path)
            _download(f"{uri}/{file.path}", folder / Path(file.path).parent)
            progress.advance(bar, file.file_size or 0)

    found = digest(file_hashes(folder))
    expected = version.tags.get(MODEL_HASH_TAG)
    if expected is None:
        log.warning(
            "version %s was registered without the tag %s: nothing to compare its files with",
            version.version,
            MODEL_HASH_TAG,
        )
    elif found != expected:
        raise WorkFailedError(
            f"the files of version {version.version} are not those that were registered: their "
            f"SHA-256 is {found}, the version is tagged {expected}; do not serve it, save it again"
        )
    return expected is not None


def fetch_snapshot(client: "MlflowClient", version: "ModelVersion", folder: Path) -> Path:
    """Download the rows that `version` was trained with; return the CSV file.

    Raises:
        WorkFailedError: the version does not say which rows, or they are gone or changed.
    """
    tagged = version.tags.get(HASH_TAG)
    if tagged is None or not version.run_id:
        raise WorkFailedError(
            f"version {version.version} does not name the rows it was trained with (tag "
            f"{HASH_TAG}): without them nothing can be compared; save the model with "
            "part3.save_model_to_registry"
        )
    if SNAPSHOT not in {file.path for file in client.list_artifacts(version.run_id)}:
        raise WorkFailedError(
            f"the artifact store has lost {SNAPSHOT} of run {version.run_id}; save the model again"
        )
    address = f"{client.get_run(version.run_id).info.artifact_uri}/{SNAPSHOT}"
    _download(address, folder)
    found = file_hashes(folder)[SNAPSHOT]
    if found != tagged:
        raise WorkFailedError(
            f"{SNAPSHOT} of run {version.run_id} was changed: its SHA-256 is {found}, version "
            f"{version.version} is tagged {tagged}; save the model again"
        )
    return folder / SNAPSHOT


def _files(uri: str, folder: str = "") -> Iterator["FileInfo"]:
    import mlflow

    for entry in mlflow.artifacts.list_artifacts(artifact_uri=f"{uri}/{folder}".rstrip("/")):
        if entry.is_dir:
            yield from _files(uri, entry.path)
        else:
            yield entry


def _download(uri: str, folder: Path) -> None:
    """Download one file; a store that is away for a moment is asked again."""
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    for attempt in stamina.retry_context(
        on=_may_pass, attempts=TRIES, timeout=None, wait_initial=0.5
    ):
        with attempt:
            if attempt.num > 1:
                log.info("%s: try %d of %d", uri, attempt.num, TRIES)
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))


def _may_pass(exc: Exception) -> bool:
    """Whether another try can help: no answer, or one that blames the server."""
    from mlflow.exceptions import MlflowException

    if isinstance(exc, MlflowException):
        return exc.error_code in {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
    return isinstance(exc, requests.RequestException)
