"""Serve the downloaded model.   (As first taught. Frozen.)

One call has changed so that it runs without warnings with Pydantic 2: `data.model_dump()` was
`data.dict()`. The figures are of MLflow 3.17 and Python 3.12 on a Linux machine with two cores.

What is wrong here, what happens because of it, and where it is mended:

1. The server imports MLflow, pandas and scikit-learn to multiply a few numbers: 2.7 seconds of
   CPU time at every start and 270 MB of memory. The new one takes 0.6 seconds and 110 MB, with the
   recording of predictions. -> ONNX Runtime, part6/onnx_model.py, part6/served_model.py
2. The model is loaded when this file is imported and never again. A new one means: stop, download,
   start, and nobody answers meanwhile. -> swapped between two requests, part6/serving.py
3. Whatever lies in ./sk_model is served, be it another model or a changed file.
   -> SHA-256 and known answers before the first request, part6/manifest.py, part6/served_model.py
4. A pickle is loaded without a word, and runs what its author wrote into it; one that held a
   `print` printed, and the server started with None as its model.
   -> skops only, part6/estimator.py
5. Values are not looked at (schemas.py). NaN and Infinity are answered with status 500 and 90
   lines of traceback in the log, so that every client can make it look as if the server were
   broken. -> 422 with the name of the field, part6/messages.py, part6/problems.py
6. A DataFrame of one row, and scikit-learn's checks of it: 1.1 ms of CPU time, of 2 ms for the
   whole request. The new one asks its model in 0.02 ms and takes 0.5 ms. A thousand rows at once
   would cost not even twice as much as one.
   -> part6/served_model.py, part6/predict_routes.py
7. A body may be as large as it likes: one of 100 MB is answered with a class, and takes 290 MB of
   memory for that moment. -> 413, part6/limits.py
8. No health check: nobody can wait for the server, or tell a server without a model from one that
   predicts. -> /health/live and /health/ready, part6/model_routes.py
9. Nothing says which model answers. -> GET /model, part6/model_routes.py
10. What was asked and answered is gone. Nobody can say later what the model was used for, or
    whether flowers have changed. -> table iris_prediction, part6/recorder.py
11. Nothing is counted: neither errors, nor predictions by class, nor how long they take.
    -> /metrics, part6/metrics.py
12. It starts in this folder only: `schemas` and ./sk_model are looked for where uvicorn was
    started. -> a package, part6/app.py, and MODEL_DIR, part6/settings.py
13. When it is stopped, a client on a kept connection may get no answer.
    -> part6/draining.py
"""

import mlflow
import pandas as pd
from fastapi import FastAPI
from schemas import PredictIn, PredictOut


def get_model():
    model = mlflow.sklearn.load_model(model_uri="./sk_model")
    return model


MODEL = get_model()

app = FastAPI()


@app.post("/predict", response_model=PredictOut)
def predict(data: PredictIn) -> PredictOut:
    df = pd.DataFrame([data.model_dump()])
    pred = MODEL.predict(df).item()
    return PredictOut(iris_class=pred)
