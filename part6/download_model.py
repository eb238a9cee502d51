"""Download a registered model: verified, converted if asked, and put in place in one step.

uv run python -m part6.download_model --model-name sk_model --alias champion --onnx
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import requests
import typer
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from part6.choosing import check_choice, find_version
from part6.command import DebugOption, WorkFailedError, run
from part6.fetch import fetch_model, fetch_snapshot
from part6.file_hashes import digest
from part6.iris import FEATURES
from part6.manifest import INCOMING, Column, Manifest
from part6.model_folder import Contents, lay_out, put_in_place
from part6.registry import ModelNameOption, connect, explained
from part6.served_model import open_served_model
from part6.settings import load_settings

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model

log = logging.getLogger(__name__)

LOCK_SECONDS = 120


def download_model(
    model_name: ModelNameOption,
    run_id: Annotated[str | None, typer.Option(help="The version that this run made.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The version of this number.")] = None,
    alias: Annotated[
        str | None, typer.Option(help="The version of this alias (default: MODEL_ALIAS).")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Convert to ONNX, and keep it if it agrees.")
    ] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Download one version of a model into MODEL_DIR and make it the one that is served."""
    check_choice(run_id, version, alias)
    settings = load_settings()
    if run_id is None and version is None:
        alias = alias or settings.model_alias
    client = connect(settings)
    with (
        explained(settings, f"{model_name!r} was not downloaded, what was there stays"),
        _incoming(settings.model_dir) as incoming,
    ):
        chosen = find_version(client, model_name, run_id, version, alias)
        log.info("%s version %s, made by run %s", model_name, chosen.version, chosen.run_id)
        verified = fetch_model(chosen, incoming / "registered")
        snapshot = fetch_snapshot(client, chosen, incoming / "snapshot")
        with _naming(chosen, incoming):
            signature, contents = _prepare(chosen, incoming, snapshot, onnx=onnx)
        manifest = Manifest(
            name=model_name,
            version=int(chosen.version),
            run_id=str(chosen.run_id),
            alias=alias,
            downloaded_at=datetime.now(UTC),
            folder=f"{chosen.version}-{digest(contents.files)[:12]}",
            verified=verified,
            signature=signature,
            onnx_wanted=onnx,
            **contents._asdict(),
        )
        with _naming(chosen, incoming):
            open_served_model(manifest, incoming / "model")  # as the server will, before it can
        put_in_place(settings.model_dir, incoming / "model", manifest)
    _report(settings.model_dir, manifest)


@contextmanager
def _incoming(model_dir: Path) -> Iterator[Path]:
    """A folder of this download alone, on the disk where the model will stay; one at a time."""
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(model_dir / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another download into %s is running, waiting for it", model_dir)
            lock.acquire(timeout=LOCK_SECONDS)
        try:
            for left in model_dir.glob(f"{INCOMING}*"):  # by one that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            with tempfile.TemporaryDirectory(dir=model_dir, prefix=INCOMING) as folder:
                yield Path(folder)
        finally:
            lock.release()
    except Timeout as exc:
        raise WorkFailedError(
            f"another download into {model_dir} is still running after {LOCK_SECONDS} s"
        ) from exc
    except (requests.RequestException, ConnectionError, TimeoutError):
        raise  # an OSError, too, but none of this folder
    except OSError as exc:
        raise WorkFailedError(
            f"{exc.filename or model_dir}: {exc.strerror}; set MODEL_DIR"
        ) from exc


@contextmanager
def _naming(version: "ModelVersion", incoming: Path) -> Iterator[None]:
    """Say of which version a refusal speaks, and not of a folder that is gone by then."""
    try:
        yield
    except WorkFailedError as exc:
        reason = str(exc).replace(f"{incoming}{os.sep}", "")
        raise WorkFailedError(f"{version.name!r} version {version.version}: {reason}") from exc


def _prepare(
    version: "ModelVersion", incoming: Path, snapshot: Path, *, onnx: bool
) -> tuple[list[Column], Contents]:
    """Lay the files to be served into `incoming`/model."""
    from mlflow.models import Model

    registered = Model.load(str(incoming / "registered"))
    signature = _signature(version, registered)
    file = incoming / "registered" / _skops_file(version, registered)
    if not (file.is_file() and file.resolve().is_relative_to(incoming.resolve())):
        raise WorkFailedError(f"version {version.version} has no file {file.name}; save it again")
    return signature, lay_out(incoming / "model", file, _rows(version, snapshot), onnx=onnx)


def _rows(version: "ModelVersion", snapshot: Path) -> NDArray[np.float64]:
    """Read the features (n, 4) that the model was trained with."""
    import pandas as pd

    try:
        rows = pd.read_csv(snapshot)[list(FEATURES)].to_numpy(np.float64)
    except (KeyError, ValueError) as exc:
        raise _no_rows(version, snapshot) from exc
    if not len(rows) or not np.isfinite(rows).all():
        raise _no_rows(version, snapshot)
    return rows


def _no_rows(version: "ModelVersion", snapshot: Path) -> WorkFailedError:
    return WorkFailedError(
        f"{snapshot.name} of version {version.version} does not hold rows of numbers with the "
        f"columns {', '.join(FEATURES)}; save the model again"
    )


def _signature(version: "ModelVersion", registered: "Model") -> list[Column]:
    """Read the model's columns, which must be those that the API asks for."""
    inputs = registered.signature.inputs.inputs if registered.signature else []
    names = [column.name for column in inputs]
    if names != list(FEATURES):
        # An array without names, as in a signature that was inferred from NumPy, has None.
        wants = ", ".join(filter(None, names)) or "columns it does not name"
        raise WorkFailedError(
            f"version {version.version} of {version.name!r} wants {wants}; this API sends "
            f"{', '.join(FEATURES)}"
        )
    return [Column(name=column.name, type=repr(column.type)) for column in inputs]


def _skops_file(version: "ModelVersion", registered: "Model") -> str:
    """Name the model's file, if loading it cannot run code that somebody put into it."""
    flavor = registered.flavors.get("sklearn", {})
    # MLflow trusts what the model itself lists; an uploader could have listed anything.
    if flavor.get("serialization_format") != "skops" or flavor.get("skops_trusted_types"):
        raise WorkFailedError(
            f"version {version.version} is not a plain skops model of scikit-learn's own types; "
            "loading it could run foreign code, so it was not loaded"
        )
    if (made_with := flavor.get("sklearn_version")) != installed("scikit-learn"):
        log.warning("saved by scikit-learn %s, loaded by another version", made_with)
    return str(flavor.get("pickled_model"))


def _report(model_dir: Path, manifest: Manifest) -> None:
    alias = f" @{manifest.alias}" if manifest.alias else ""
    print(f"model   {manifest.name} version {manifest.version}{alias}")
    print(f"run     {manifest.run_id}")
    print(f"files   {len(manifest.files)} in {model_dir / manifest.folder}")
    print(f"SHA-256 {'as registered' if manifest.verified else 'recorded, none was registered'}")
    if manifest.onnx is None:
        print("serves  with scikit-learn")
    else:
        print(
            f"serves  with ONNX Runtime: same class for {manifest.onnx.rows} of "
            f"{manifest.onnx.rows} rows, scores within {manifest.onnx.largest_score_difference:.0e}"
        )


if __name__ == "__main__":
    run(download_model)
