"""What Prometheus reads at /metrics."""

import time
from functools import cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, with the time of its birth

REQUESTS = Counter("chat_requests_total", "Answered requests.", ["method", "path", "status"])
REQUEST_SECONDS = Histogram(
    "chat_request_seconds",
    "Time from a request's head to the end of its answer.",
    ["method", "path"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
REPLIES = Counter("chat_replies_total", "Replies by how they ended.", ["outcome"])
FIRST_TOKEN_SECONDS = Histogram(
    "chat_time_to_first_token_seconds",
    "Time from the request to the first token of its reply.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
TOKEN_SECONDS = Histogram(
    "chat_time_per_output_token_seconds",
    "Mean time between the tokens of a reply.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
)
TOKENS = Counter("chat_tokens_total", "Tokens by kind.", ["kind"])
RUNNING = Gauge("chat_generations_running", "Replies that are being generated.")
QUEUED = Gauge("chat_generations_queued", "Replies that wait for their turn.")
REFUSED = Counter("chat_generations_refused_total", "Turns refused because too many wait.")
MODEL_FAILURES = Counter("chat_model_failures_total", "Failed calls.", ["endpoint", "kind"])
BREAKER_OPEN = Gauge("chat_breaker_open", "1 while a model server is not asked.", ["endpoint"])
DATABASE_SECONDS = Histogram(
    "chat_database_seconds",
    "Time of a transaction in the database.",
    ["kind"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
TRACES_LOST = Counter("chat_traces_lost_total", "Traces that MLflow did not take.")
# Invariants: always 0, or there is a bug.
STUCK = Gauge("chat_messages_stuck", "Messages in `streaming` that no living server writes.")
GAPS = Gauge("chat_seq_gaps", "Conversations whose messages are not numbered without a gap.")


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
            path = getattr(scope.get("route"), "path", "other")
            requests, seconds = _series(scope["method"], path, status)
            requests.inc()
            seconds.observe(time.perf_counter() - begun)


@cache
def _series(method: str, path: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, path, status), REQUEST_SECONDS.labels(method, path)
