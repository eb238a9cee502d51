"""The edge to MLflow: wait for the server, ask it, and say in one line what went wrong."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import requests
import stamina
import typer

from part6.command import BadUsageError, WorkFailedError
from part6.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

log = logging.getLogger(__name__)

CHAMPION = "champion"
HASH_TAG = "data_sha256"  # on every version: the snapshot it was trained on
ROWS_TAG = "data_rows"
MODEL_HASH_TAG = "model_sha256"  # the files of the model, as `file_hashes.digest` sums them up
SNAPSHOT = "data.csv"  # the artifact of the run that holds them

USUAL_ADDRESS = Settings.model_fields["mlflow_tracking_uri"].default
START = "start it with `uv run course up part6`, or with `docker compose up -d --wait` in part6/"
LOOK = (
    "look with `uv run course status`, or with `docker compose ps` in part6/, then run this again"
)

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"

# MLflow reads these when it is imported; what the learner has set already stays.
_CLIENT_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # the scripts say what happens
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Downloads through the server too. By itself the client goes to S3 with a presigned URL, at
    # the name by which the server knows S3: one that a laptop outside the containers cannot find.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # no complaint on a machine without git
    # The default retries for four minutes. Two retries, after 0 and 2 seconds, ride out a
    # restart of a proxy; a server that is gone is reported in seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def _valid_model_name(name: str) -> str:
    # MLflow builds URIs (models:/NAME/VERSION) and search filters from the name.
    if not re.fullmatch(r"[\w.-]([\w. -]{0,253}[\w.-])?", name) or name in {".", ".."}:
        raise BadUsageError(
            f"--model-name is {name!r}: a model name has 1 to 255 letters, digits, dots, dashes, "
            "underscores or inner spaces, for example sk_model"
        )
    return name


ModelNameOption = Annotated[
    str,
    typer.Option(callback=_valid_model_name, help="Name of the registered model."),
]


def connect(settings: Settings) -> "MlflowClient":
    """Return a client of the MLflow server, waiting up to `mlflow_wait_seconds` for an answer.

    Raises:
        WorkFailedError: nobody answered in time, or who answered is not MLflow.
    """
    uri = settings.mlflow_tracking_uri
    user, password = settings.mlflow_tracking_username, settings.mlflow_tracking_password
    if user and password:  # MLflow does not read .env
        os.environ |= {USER: user, PASSWORD: password.get_secret_value()}
    attempts = stamina.retry_context(
        on=(requests.ConnectionError, requests.Timeout, _NotReadyError),
        attempts=None,
        timeout=settings.mlflow_wait_seconds,
        wait_initial=0.1,
        wait_max=2.0,
    )
    try:
        for attempt in attempts:
            with attempt:
                if attempt.num == 2:
                    log.info("waiting for MLflow at %s ...", uri)
                _ask_version(uri)
    except (requests.ConnectionError, requests.Timeout, _NotReadyError) as exc:
        raise WorkFailedError(
            f"no MLflow at {uri} after {settings.mlflow_wait_seconds:g} s; {START}"
            + (", or correct MLFLOW_TRACKING_URI" if uri != USUAL_ADDRESS else "")
        ) from exc

    for name, value in _CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a warning for every retry
    # Hints about integers that might be missing (ours are NOT NULL), deprecations inside MLflow.
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    import mlflow  # takes seconds, and must come after its settings

    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri)


@contextmanager
def explained(settings: Settings, doing: str) -> Iterator[None]:
    """Turn what MLflow raises while `doing` something into one line with a remedy.

    Raises:
        WorkFailedError: the server refused, or it or what stands behind it went away.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, requests.RequestException) as exc:
        raise WorkFailedError(f"{doing}: {_reason(exc, settings.mlflow_tracking_uri)}") from exc


def find_model(client: "MlflowClient", name: str) -> "RegisteredModel":
    """Look up the registered model `name` with its aliases.

    Raises:
        WorkFailedError: there is no such model; the message lists the first few there are.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        there = ", ".join(m.name for m in client.search_registered_models(max_results=10))
        raise WorkFailedError(
            f"the registry has no model {name!r} (there: {there or 'none'}); save one with "
            f"`uv run python -m part6.save_model_to_registry --model-name {name}`"
        ) from exc


def versions_of(client: "MlflowClient", name: str) -> list["ModelVersion"]:
    """List all versions of the registered model `name`, oldest first."""
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return sorted(found, key=lambda version: int(version.version))


def unknown_version(name: str, version: int, there: list[int]) -> WorkFailedError:
    """Make the error of a version number that the model `name` does not have."""
    shown = ", ".join(map(str, there[-10:])) or "none"
    return WorkFailedError(f"{name!r} has no version {version} (newest there: {shown})")


class _NotReadyError(Exception):
    """The server answers, but not yet with its version."""


def _ask_version(uri: str) -> None:
    login = (os.environ.get(USER, ""), os.environ.get(PASSWORD, ""))
    answer = requests.get(
        f"{uri.rstrip('/')}/version", auth=login if all(login) else None, timeout=5
    )
    if answer.status_code in {502, 503, 504}:
        raise _NotReadyError
    if not answer.ok or not re.fullmatch(r"\d+\.\d+\S*", answer.text.strip()):
        raise WorkFailedError(
            f"what answers at {uri} is not MLflow (HTTP {answer.status_code}); set "
            "MLFLOW_TRACKING_URI to the address that `uv run course status` shows"
        )


def _reason(exc: Exception, uri: str) -> str:
    """Say whether the server is gone, something behind it is, or it refused."""
    # MLflow wraps what went wrong in sentences of its own; the cause is somewhere down the chain.
    story = "\n".join(_causes(exc))
    if "Invalid Host header" in story:
        return f"MLflow at {uri} refuses this address; name it in the server's --allowed-hosts"
    failed = re.search(r"too many (5\d\d) error responses|\b(5\d\d) Server Error", story)
    if not failed and not re.search(r"failed with (timeout )?exception|Connection", story):
        first = str(exc).strip().split("\n", 1)[0]
        return first.removeprefix(f"{getattr(exc, 'error_code', '')}: ")
    try:
        _ask_version(uri)
    except (requests.RequestException, _NotReadyError, WorkFailedError):
        return f"MLflow at {uri} stopped answering; {START}, and run this again"
    status = f"HTTP {failed.group(1) or failed.group(2)}" if failed else "no complete answer"
    return (
        f"MLflow at {uri} answers but could not do it ({status}): its artifact store (S3) or its "
        f"database is down; {LOOK}"
    )


def _causes(exc: BaseException | None) -> Iterator[str]:
    while exc is not None:
        yield str(exc)
        exc = exc.__cause__ or exc.__context__
