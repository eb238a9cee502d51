"""What Prometheus reads at /metrics."""

import time
from functools import cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, with the time of its birth

REQUESTS = Counter("iris_requests_total", "Answered requests.", ["path", "status"])
# From a tenth of a millisecond: with a model this small, most of a request is the network.
SECONDS = Histogram(
    "iris_request_seconds",
    "Time from a request's head to its answer.",
    ["path"],
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
PREDICTIONS = Counter("iris_predictions_total", "Predicted rows.", ["iris_class", "model_version"])
RECORDED = Counter("iris_predictions_recorded_total", "Rows written into iris_prediction.")
DROPPED = Counter("iris_predictions_dropped_total", "Rows dropped because too many were waiting.")
WAITING = Gauge("iris_predictions_waiting", "Rows that wait to be written.")
RECORD_FAILURES = Counter("iris_record_failures_total", "Attempts to write that failed.")
MODEL = Gauge("iris_model_info", "1 for the model that answers.", ["name", "version", "runtime"])
RELOADS = Counter("iris_model_reloads_total", "Asked or watched reloads.", ["result"])


class CountRequests:
    """ASGI middleware: count every answer and how long it took, by the route's path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its status go by."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            # The route's own path: an address that somebody made up must not make a new series.
            route = scope.get("route")
            path = getattr(route, "path", "other")
            requests, seconds = _series(path, status)
            requests.inc()
            seconds.observe(time.perf_counter() - begun)


# Finding a series by its labels takes longer than counting, so it is done once.


@cache
def predictions(iris_class: int, model_version: int) -> Counter:
    """The series of PREDICTIONS with these labels."""
    return PREDICTIONS.labels(iris_class, model_version)


@cache
def _series(path: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(path, status), SECONDS.labels(path)
