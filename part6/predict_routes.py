"""The routes that predict."""

import time
from collections import Counter
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Response

from part6 import metrics
from part6.iris import FEATURES, LABEL_NAMES
from part6.messages import Batch, Flower, Prediction, Predictions
from part6.prediction_table import Recorded
from part6.problems import BODY, ProblemError, documented
from part6.recorder import Recorder
from part6.served_model import ServedModel
from part6.serving import Serving

ERRORS = BODY | documented(503)

_measurements = itemgetter(*FEATURES)


def predict_routes(serving: Serving, recorder: Recorder | None) -> APIRouter:
    """POST /predict and POST /predict/batch with the model that `serving` holds."""
    router = APIRouter(tags=["predict"])

    def answer(model: ServedModel, rows: list[tuple[float, ...]]) -> list[dict[str, Any]]:
        """Predict `rows` (n, 4) in cm, count them and leave them to be recorded."""
        begun = time.perf_counter()
        answers = model.predict(np.array(rows))
        classes: list[int] = answers.classes.tolist()
        version = model.manifest.version
        for iris_class, rows_of_it in Counter(classes).items():
            metrics.PREDICTIONS.labels(iris_class, version).inc(rows_of_it)
        if recorder is not None:
            took = (time.perf_counter() - begun) * 1000
            recorder.record(Recorded(time.time(), rows, classes, version, took))
        return [
            {"iris_class": iris_class, "label": LABEL_NAMES[iris_class], "scores": scores}
            for iris_class, scores in zip(classes, answers.scores.tolist(), strict=True)
        ]

    # The answers are made here and need no check, so they are written as bytes at once: by way of
    # `response_model` FastAPI would validate each of them a second time.

    @router.post("/predict", responses={200: {"model": Prediction}, **ERRORS})
    async def predict(flower: Flower) -> Response:
        """Say which iris a flower is."""
        model = _model(serving)
        (only,) = answer(model, [_measurements(flower)])
        return _json(only | _by(model))

    @router.post("/predict/batch", responses={200: {"model": Predictions}, **ERRORS})
    async def predict_batch(batch: Batch) -> Response:
        """Say it of up to a thousand flowers at once, all by the same version."""
        model = _model(serving)
        answers = answer(model, [_measurements(flower) for flower in batch.rows])
        return _json({"predictions": answers} | _by(model))

    return router


def _model(serving: Serving) -> ServedModel:
    if serving.model is None:
        raise ProblemError(503, f"no model is served: {serving.why_none}")
    return serving.model


def _by(model: ServedModel) -> dict[str, Any]:
    manifest = model.manifest
    return {"score_kind": manifest.score_kind, "model_version": manifest.version}


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
