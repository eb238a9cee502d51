"""What lies in the model folder: one file says which model it is and what each file must hold.

MODEL_DIR/manifest.json      what is served now; replaced in one step
MODEL_DIR/3-1f0c.../         the files that it names, never changed once they are there
"""

import os
import tempfile
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from part6.command import WorkFailedError
from part6.file_hashes import file_hashes

FILE = "manifest.json"
INCOMING = ".incoming-"  # begins the name of what is not complete yet
SKOPS = "model.skops"
ONNX = "model.onnx"
REFERENCE = "reference.csv"  # the rows of the training snapshot, with what this model says of them

DOWNLOAD = "uv run python -m part6.download_model --model-name"

ScoreKind = Literal["decision_function", "probability"]


class Column(BaseModel):
    """One column of the signature."""

    name: str
    type: str


class Smoke(BaseModel):
    """Rows whose answers are known: a loaded model must repeat them before it may serve."""

    rows: Annotated[list[tuple[float, float, float, float]], Field(min_length=1)]
    iris_class: list[int]
    scores: list[tuple[float, float, float]]

    @model_validator(mode="after")
    def _one_answer_per_row(self) -> "Smoke":
        if not len(self.rows) == len(self.iris_class) == len(self.scores):
            raise ValueError("not as many answers as rows")
        return self


class OnnxCheck(BaseModel):
    """How the converted model compared with the original on the rows it was trained with."""

    rows: int
    largest_score_difference: float


class Manifest(BaseModel):
    """The model that lies there, and how to know that it is this one."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: int
    run_id: str
    alias: str | None  # the alias it follows; None: this very version was asked for
    downloaded_at: datetime
    folder: str
    files: dict[str, str]  # path in the folder to SHA-256
    verified: bool  # whether the registry had a checksum to compare with
    signature: list[Column]
    score_kind: ScoreKind
    onnx_wanted: bool
    onnx: OnnxCheck | None
    smoke: Smoke
    libraries: dict[str, str]

    @property
    def again(self) -> str:
        """What to do when the files are not what they should be."""
        choice = f"--alias {self.alias}" if self.alias else f"--version {self.version}"
        onnx = " --onnx" if self.onnx_wanted else ""
        return f"download it again with `{DOWNLOAD} {quote(self.name)} {choice}{onnx}`"


def read_manifest(model_dir: Path) -> Manifest:
    """Read which model lies in `model_dir`.

    Raises:
        WorkFailedError: there is none, or what is there is no manifest.
    """
    file = model_dir / FILE
    try:
        text = file.read_bytes()
    except FileNotFoundError as exc:
        raise WorkFailedError(
            f"there is no model in {model_dir}; get one with `{DOWNLOAD} sk_model --onnx`"
        ) from exc
    except OSError as exc:
        raise WorkFailedError(f"{file} cannot be read: {exc.strerror}") from exc
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as exc:
        fault = exc.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise WorkFailedError(
            f"{file} is not a manifest ({where}: {fault['msg'].lower()}); download it again "
            f"with `{DOWNLOAD} sk_model --onnx`"
        ) from exc


def write_manifest(model_dir: Path, manifest: Manifest) -> None:
    """Make `manifest` the one that counts, in one step: a reader sees the old one or the new."""
    with tempfile.NamedTemporaryFile(
        "w", dir=model_dir, prefix=INCOMING, delete=False, encoding="utf-8"
    ) as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(model_dir / FILE)


def check_files(model_dir: Path, manifest: Manifest) -> Path:
    """Return the folder of the model's files when each of them is what the manifest says.

    Raises:
        WorkFailedError: a file is missing or holds something else.
    """
    folder = model_dir / manifest.folder
    try:
        found = file_hashes(folder)
    except OSError as exc:  # no permission, or another download is taking the files away
        raise WorkFailedError(
            f"{exc.filename or folder}: {exc.strerror}; {manifest.again}"
        ) from exc
    needed = {SKOPS, ONNX} if manifest.onnx else {SKOPS}
    for name in sorted(needed - manifest.files.keys()):
        raise WorkFailedError(f"{model_dir / FILE} does not name {name}; {manifest.again}")
    for name, expected in manifest.files.items():
        if name not in found:
            raise WorkFailedError(f"{folder / name} is missing; {manifest.again}")
        if found[name] != expected:
            raise WorkFailedError(
                f"{folder / name} is not the file that was downloaded: its SHA-256 is "
                f"{found[name]}, {FILE} says {expected}; {manifest.again}"
            )
    return folder
