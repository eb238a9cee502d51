"""The same model for ONNX Runtime: converted, compared with the original, and asked."""

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from part6.command import WorkFailedError
from part6.estimator import Answers, ask, score_kind
from part6.manifest import OnnxCheck

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from sklearn.pipeline import Pipeline

# Since 1.29 ONNX Runtime reports to its makers which model is opened, on Linux too. It asks this
# variable when it is imported, which the functions below do.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The exceptions of skl2onnx are RuntimeErrors; a converter that does not know an option or an
# estimator within another fails with one of the others.
_CANNOT = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip

INPUT = "rows"
TOLERANCE = 1e-5  # of scores; ONNX Runtime computes an SVC's kernel in float32: 1e-7 is usual


def convert(model: "Pipeline") -> bytes:
    """Write a scikit-learn pipeline as ONNX: input (n, 4) double, outputs classes and scores.

    Raises:
        WorkFailedError: skl2onnx has no converter for a step, or one that fails.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    options = {"zipmap": False}
    if score_kind(model) == "decision_function":
        options["raw_scores"] = True
    try:
        with warnings.catch_warnings():
            # skl2onnx reads attributes of SVC that scikit-learn 1.11 will no longer have.
            warnings.simplefilter("ignore", FutureWarning)
            converted = to_onnx(
                model,
                initial_types=[(INPUT, DoubleTensorType([None, 4]))],
                options={id(model): options},
            )
    except _CANNOT as exc:
        reason = (str(exc).strip() or "no reason given").splitlines()[0]
        raise WorkFailedError(f"no ONNX: {type(exc).__name__}: {reason}") from exc
    return bytes(converted.SerializeToString())


def open_session(onnx: bytes) -> "InferenceSession":
    """Open a model for inference on one thread.

    Raises:
        WorkFailedError: these bytes are no ONNX model.
    """
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    # For a few rows of four numbers, waking other threads costs more than they save.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as exc:
        reason = str(exc).strip().splitlines()[0]
        raise WorkFailedError(f"ONNX Runtime cannot open the model: {reason}") from exc


def ask_session(session: "InferenceSession", rows: NDArray[np.float64]) -> Answers:
    """Predict `rows` (n, 4) in cm, columns in the order of FEATURES.

    Raises:
        WorkFailedError: the model cannot be computed for them.
    """
    try:
        return Answers(*session.run(None, {INPUT: rows}))
    except _runtime_errors() as exc:
        reason = str(exc).strip().splitlines()[0]
        raise WorkFailedError(f"ONNX Runtime cannot compute the model: {reason}") from exc


def compare(model: "Pipeline", onnx: bytes, rows: NDArray[np.float64]) -> OnnxCheck:
    """Ask both models for all `rows` and return how far their scores are apart.

    Raises:
        WorkFailedError: they disagree about a class, or a score differs by more than TOLERANCE.
    """
    original, converted = ask(model, rows), ask_session(open_session(onnx), rows)
    if converted.classes.shape != original.classes.shape:
        raise WorkFailedError(
            f"no ONNX: classes of another shape, {converted.classes.shape} for {len(rows)} rows"
        )
    if converted.scores.shape != original.scores.shape:
        raise WorkFailedError(
            f"no ONNX: scores of another shape, {converted.scores.shape} for {len(rows)} rows"
        )
    different = int((original.classes != converted.classes).sum())
    if different:
        raise WorkFailedError(f"no ONNX: {different} of {len(rows)} rows get another class")
    largest = float(np.abs(original.scores - converted.scores).max())
    if not largest <= TOLERANCE:
        raise WorkFailedError(f"no ONNX: a score differs by {largest:.3g}")
    return OnnxCheck(rows=len(rows), largest_score_difference=largest)


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; these classes have no other base than Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    return (
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NotImplemented,
        ort.RuntimeException,
    )
