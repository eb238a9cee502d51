"""The model in BentoML: one worker, its ONNX session in the service, no access log, no metrics.

`async def`, because BentoML hands a plain function to a thread, which here costs more than the
model itself.
"""

import os
from typing import Any

import bentoml
import numpy as np
from onnxruntime import InferenceSession, SessionOptions

LABEL_NAMES = ("setosa", "versicolor", "virginica")


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Iris:
    """POST /predict."""

    def __init__(self) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = InferenceSession(os.environ["BENCH_ONNX"], options, providers=providers)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(
        self, sepal_length: float, sepal_width: float, petal_length: float, petal_width: float
    ) -> dict[str, Any]:
        """Say which iris a flower is."""
        row = [sepal_length, sepal_width, petal_length, petal_width]
        classes, scores = self.session.run(None, {"rows": np.array([row])})
        iris_class = int(classes[0])
        return {
            "iris_class": iris_class,
            "label": LABEL_NAMES[iris_class],
            "scores": scores[0].tolist(),
        }
