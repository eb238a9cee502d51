"""The routes that predict."""

import time
from collections.abc import Callable
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Response
from pydantic import TypeAdapter, ValidationError

from part6 import metrics
from part6.iris import FEATURES, LABEL_NAMES
from part6.messages import Batch, Flower, Prediction, Predictions
from part6.prediction_table import pack, pack_one
from part6.problems import BODY, ProblemError, documented
from part6.recorder import Recorder
from part6.served_model import ServedModel
from part6.serving import Serving
from part6.short_way import Short

ERRORS = BODY | documented(503)

_measurements = itemgetter(*FEATURES)


class Predicting:
    """Predicts with the model that `serving` holds; every answer is made here, as JSON."""

    def __init__(self, serving: Serving, recorder: Recorder | None) -> None:
        self._serving = serving
        self._recorder = recorder

    def one(self, flower: Flower) -> bytes:
        """Answer one flower.

        Raises:
            ProblemError: no model is served.
        """
        model = self._model()
        (only,) = self._answer(model, [_measurements(flower)])
        return orjson.dumps(only | _by(model))

    def many(self, batch: Batch) -> bytes:
        """Answer a batch, all by the same version.

        Raises:
            ProblemError: no model is served.
        """
        model = self._model()
        answers = self._answer(model, [_measurements(flower) for flower in batch.rows])
        return orjson.dumps({"predictions": answers} | _by(model))

    def _answer(self, model: ServedModel, rows: list[tuple[float, ...]]) -> list[dict[str, Any]]:
        """Predict `rows` (n, 4) in cm, count them and leave them to be recorded."""
        begun = time.perf_counter()
        count = len(rows) * len(FEATURES)
        numbers = np.fromiter(chain.from_iterable(rows), float, count).reshape(len(rows), -1)
        answers = model.predict(numbers)
        classes: list[int] = answers.classes.tolist()
        version = model.manifest.version
        for iris_class in set(classes):
            metrics.predictions(iris_class, version).inc(classes.count(iris_class))
        if self._recorder is not None:
            took = (time.perf_counter() - begun) * 1000
            self._recorder.record(
                pack_one(time.time(), rows[0], classes[0], version, took)
                if len(rows) == 1  # for which an array takes ten times as long
                else pack(time.time(), numbers, answers.classes, version, took)
            )
        return [
            {"iris_class": iris_class, "label": LABEL_NAMES[iris_class], "scores": scores}
            for iris_class, scores in zip(classes, answers.scores.tolist(), strict=True)
        ]

    def _model(self) -> ServedModel:
        if self._serving.model is None:
            raise ProblemError(503, f"no model is served: {self._serving.why_none}")
        return self._serving.model


def predict_routes(predicting: Predicting) -> APIRouter:
    """POST /predict and POST /predict/batch."""
    router = APIRouter(tags=["predict"])

    # The answers are made here and need no check, so they are written as bytes at once: by way of
    # `response_model` FastAPI would validate each of them a second time.

    @router.post("/predict", responses={200: {"model": Prediction}, **ERRORS})
    async def predict(flower: Flower) -> Response:
        """Say which iris a flower is."""
        return _json(predicting.one(flower))

    @router.post("/predict/batch", responses={200: {"model": Predictions}, **ERRORS})
    async def predict_batch(batch: Batch) -> Response:
        """Say it of up to a thousand flowers at once, all by the same version."""
        return _json(predicting.many(batch))

    return router


def short_ways(predicting: Predicting) -> dict[str, Short]:
    """The same two for requests without a fault."""
    shorts = [
        Short("/predict", _if_valid(TypeAdapter(Flower), predicting.one)),
        Short("/predict/batch", _if_valid(TypeAdapter(Batch), predicting.many)),
    ]
    return {short.path: short for short in shorts}


def _if_valid[T](
    kind: TypeAdapter[T], ask: Callable[[T], bytes]
) -> Callable[[bytes], bytes | None]:
    def answer(body: bytes) -> bytes | None:
        try:
            return ask(kind.validate_python(orjson.loads(body)))
        except (orjson.JSONDecodeError, ValidationError, ProblemError):
            return None  # FastAPI finds the same fault and says where it is

    return answer


def _by(model: ServedModel) -> dict[str, Any]:
    manifest = model.manifest
    return {"score_kind": manifest.score_kind, "model_version": manifest.version}


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
