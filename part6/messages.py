"""What a request may say and what an answer says."""

from typing import Annotated, Any, TypedDict

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from part6.iris import MAX_CM
from part6.manifest import ScoreKind

# Strict, so that "5.1" and true are mistakes; JSON as Python reads it knows NaN and Infinity.
Centimetres = Annotated[float, Field(gt=0, le=MAX_CM, strict=True, allow_inf_nan=False)]

MAX_ROWS = 1000  # of a batch: some milliseconds, in which nobody else is answered

FLOWER: JsonDict = {
    "sepal_length": 6.3,
    "sepal_width": 3.3,
    "petal_length": 6.0,
    "petal_width": 2.5,
}
ANSWER: dict[str, Any] = {
    "iris_class": 2,
    "label": "virginica",
    "scores": [-0.22, 1.13, 2.2],
}
SCORES = "One per class, in the order setosa, versicolor, virginica."


class Flower(TypedDict):
    """The four measurements of a flower, in cm.

    A dict and not a model: a batch holds hundreds, and a dict takes half the time.
    """

    __pydantic_config__ = ConfigDict(  # type: ignore[misc]
        extra="forbid", json_schema_extra={"examples": [FLOWER]}
    )

    sepal_length: Centimetres
    sepal_width: Centimetres
    petal_length: Centimetres
    petal_width: Centimetres


class Batch(BaseModel):
    """Up to MAX_ROWS flowers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rows": [FLOWER]}]})

    rows: list[Flower] = Field(min_length=1, max_length=MAX_ROWS)


class Answer(BaseModel):
    """What the model says of one flower."""

    iris_class: int = Field(ge=0, le=2)
    label: str
    scores: list[float] = Field(description=SCORES)


class Prediction(Answer):
    """The answer to one flower, and who gives it."""

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={
            "examples": [ANSWER | {"score_kind": "decision_function", "model_version": 1}]
        },
    )

    score_kind: ScoreKind
    model_version: int


class Predictions(BaseModel):
    """The answers to a batch, in the order of its rows, all from one version."""

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {"predictions": [ANSWER], "score_kind": "decision_function", "model_version": 1}
            ]
        },
    )

    predictions: list[Answer]
    score_kind: ScoreKind
    model_version: int


class Reloaded(BaseModel):
    """Which version answers now, and whether it is from another download than before."""

    changed: bool
    model_version: int
    previous_version: int | None
