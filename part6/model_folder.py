"""Make the files that are served, and put them in place of the old ones in one step."""

import logging
import os
import re
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from part6.command import WorkFailedError
from part6.estimator import load_skops, score_kind, try_out
from part6.file_hashes import file_hashes
from part6.iris import FEATURES
from part6.manifest import (
    ONNX,
    REFERENCE,
    SKOPS,
    Manifest,
    OnnxCheck,
    ScoreKind,
    Smoke,
    read_manifest,
    write_manifest,
)
from part6.onnx_model import compare, convert

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

# Whoever sets MODEL_DIR may keep other things there.
OUR_FOLDER = re.compile(r"\d+-[0-9a-f]{12}")

LIBRARIES = ("numpy", "onnxruntime", "scikit-learn", "skl2onnx", "skops")


class Contents(NamedTuple):
    """What the files of a folder say for its manifest."""

    files: dict[str, str]
    score_kind: ScoreKind
    onnx: OnnxCheck | None
    smoke: Smoke
    libraries: dict[str, str]


def lay_out(folder: Path, skops: Path, rows: NDArray[np.float64], *, onnx: bool) -> Contents:
    """Make `folder` with the model, its answers to its training `rows` (n, 4), and ONNX if wanted.

    Raises:
        WorkFailedError: the file holds no harmless scikit-learn classifier of the three classes.
    """
    folder.mkdir()
    shutil.copy(skops, folder / SKOPS)
    model = load_skops(folder / SKOPS)
    answers = try_out(model, rows)
    _write_reference(folder / REFERENCE, rows, answers.classes)
    check = _convert(model, rows, folder / ONNX) if onnx else None
    # The first row of each class that it predicts.
    shown = [int((answers.classes == label).argmax()) for label in np.unique(answers.classes)]
    smoke = Smoke(
        rows=rows[shown].tolist(),
        iris_class=answers.classes[shown].tolist(),
        scores=answers.scores[shown].tolist(),
    )
    libraries = {name: installed(name) for name in LIBRARIES}
    return Contents(file_hashes(folder), score_kind(model), check, smoke, libraries)


def put_in_place(model_dir: Path, folder: Path, manifest: Manifest) -> None:
    """Move `folder` to where `manifest` says, and make that manifest the one that counts."""
    final = model_dir / manifest.folder
    if final.exists() and not _holds(final, manifest):
        shutil.rmtree(final)  # damaged since, so nobody loses anything by it
    if not final.exists():  # else the same files are there and a server may be reading them
        folder.rename(final)
    for file in final.iterdir():
        # On the disk before the manifest names them, or a power cut could leave it naming nothing.
        with file.open("rb+") as written:
            os.fsync(written.fileno())
    try:
        before = read_manifest(model_dir).folder
    except WorkFailedError:  # none, or a broken one: this one takes its place
        before = manifest.folder
    write_manifest(model_dir, manifest)
    for old in model_dir.iterdir():
        # A server may be about to read the files that the manifest named a moment ago.
        if OUR_FOLDER.fullmatch(old.name) and old.name not in {manifest.folder, before}:
            shutil.rmtree(old)


def _holds(folder: Path, manifest: Manifest) -> bool:
    return file_hashes(folder) == manifest.files


def _write_reference(file: Path, rows: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(FEATURES)).assign(iris_class=classes)
    frame.to_csv(file, index=False, lineterminator="\n")


def _convert(model: "Pipeline", rows: NDArray[np.float64], file: Path) -> OnnxCheck | None:
    """Write the ONNX file if it gives the same answers; say so if it does not."""
    try:
        converted = convert(model)
        check = compare(model, converted, rows)
    except WorkFailedError as exc:
        log.warning("%s; scikit-learn will serve", exc)
        return None
    file.write_bytes(converted)
    return check
