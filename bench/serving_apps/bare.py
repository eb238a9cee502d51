"""A bare FastAPI endpoint around the same ONNX session: no limits, metrics, reload or records."""

import os
from typing import Any

import numpy as np
from fastapi import FastAPI
from onnxruntime import InferenceSession, SessionOptions
from pydantic import BaseModel

LABEL_NAMES = ("setosa", "versicolor", "virginica")

options = SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1  # as ours, it has one core
session = InferenceSession(os.environ["BENCH_ONNX"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Flower(BaseModel):
    """Four measurements in cm."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class Batch(BaseModel):
    """Several flowers."""

    rows: list[Flower]


def _ask(flowers: list[Flower]) -> list[dict[str, Any]]:
    rows = [[f.sepal_length, f.sepal_width, f.petal_length, f.petal_width] for f in flowers]
    classes, scores = session.run(None, {"rows": np.array(rows)})
    return [
        {"iris_class": iris_class, "label": LABEL_NAMES[iris_class], "scores": row}
        for iris_class, row in zip(classes.tolist(), scores.tolist(), strict=True)
    ]


@app.post("/predict")
async def predict(flower: Flower) -> dict[str, Any]:
    """Say which iris a flower is."""
    return _ask([flower])[0]


@app.post("/predict/batch")
async def predict_batch(batch: Batch) -> dict[str, Any]:
    """Say it of several flowers."""
    return {"predictions": _ask(batch.rows)}
