"""Sends traces, and what people think of replies, to MLflow; nobody ever waits for it.

Spans go to MLflow's OTLP endpoint: https://mlflow.org/docs/latest/genai/tracing/opentelemetry/
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from serve.core import metrics
from serve.core.config import Settings

log = structlog.get_logger()

EXPERIMENT = "chat"
SEND_SECONDS = 1.0  # between two batches
LONGEST_PAUSE = 15.0  # between attempts while MLflow is away
ANSWER_SECONDS = 10.0  # it takes its time for the first one
LAST_SECONDS = 1.0  # for what is left when the server stops, if MLflow was there until then
AT_ONCE = 50  # traces in a request
HELD_TRACES = 1_000  # while MLflow is away; then the oldest are lost
HELD_FEEDBACK = 1_000
V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"


class MlflowAwayError(Exception):
    """It does not answer, or says that it cannot now."""


class MlflowRefusedError(Exception):
    """It will not take this, however often it is sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Feedback:
    """What somebody thinks of a reply; all None if it was taken back."""

    thumb: str | None
    comment: str | None


class Mlflow(SpanProcessor):
    """Collects what is to be sent, from any thread; `keep_sending` sends it."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.mlflow_tracking_uri.rstrip("/")
        user = settings.mlflow_tracking_username
        password = settings.mlflow_tracking_password.get_secret_value()
        self._session = aiohttp.ClientSession(
            auth=aiohttp.BasicAuth(user, password) if user else None,
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )
        self._growing: defaultdict[int, list[ReadableSpan]] = defaultdict(list)
        self._traces: deque[list[ReadableSpan]] = deque()
        self._feedback: dict[str, Feedback] = {}
        self._experiment: str | None = None
        self._away = False

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; a trace is sent whole, when its root has.

        MLflow reads a trace's tags from the root, and only when it hears of the trace first.
        """
        known = span.get_span_context()
        assert known is not None
        self._growing[known.trace_id].append(span)
        if span.parent is None:
            self._traces.append(self._growing.pop(known.trace_id))
            self._forget_oldest()

    def attach(self, trace_id: str, feedback: Feedback) -> None:
        """Take what somebody thinks of a reply; only the last opinion counts."""
        self._feedback.pop(trace_id, None)
        if len(self._feedback) < HELD_FEEDBACK:
            self._feedback[trace_id] = feedback

    async def keep_sending(self) -> None:
        """Send what has come, every second, or less often while MLflow is away."""
        pause = SEND_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self._send_all()
            except MlflowAwayError as exc:
                if not self._away:
                    log.warning("MLflow is away; traces wait for it", reason=str(exc))
                self._away = True
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = SEND_SECONDS

    async def close(self) -> None:
        """Send what is left, if that is a matter of a moment."""
        if not self._away:
            with suppress(MlflowAwayError, TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._send_all()
        await self._session.close()
        if self._traces:
            log.warning("traces are lost: MLflow did not take them", traces=len(self._traces))

    async def _send_all(self) -> None:
        while self._traces:
            await self._send_traces()
        while self._feedback:
            trace_id, feedback = next(iter(self._feedback.items()))
            await self._send_feedback(trace_id, feedback)
            if self._feedback.get(trace_id) is feedback:  # nobody has changed their mind meanwhile
                del self._feedback[trace_id]

    async def _send_traces(self) -> None:
        batch = [self._traces.popleft() for _ in range(min(AT_ONCE, len(self._traces)))]
        spans = [span for trace in batch for span in trace]
        try:
            experiment = self._experiment or await self._find_experiment()
            # In a thread, because it takes milliseconds and every stream would stand still.
            body = await asyncio.to_thread(lambda: encode_spans(spans).SerializeToString())
            headers = {
                "Content-Type": "application/x-protobuf",
                "x-mlflow-experiment-id": experiment,
            }
            async with self._ask("POST", "/v1/traces", data=body, headers=headers):
                pass
        except MlflowRefusedError as exc:
            self._experiment = None  # it may have been removed
            metrics.TRACES_LOST.inc(len(batch))
            log.warning("MLflow refuses traces", traces=len(batch), reason=str(exc))
        except BaseException:
            self._traces.extendleft(reversed(batch))
            self._forget_oldest()
            raise

    async def _find_experiment(self) -> str:
        name = {"experiment_name": EXPERIMENT}
        try:
            async with self._ask("GET", f"{V2}/experiments/get-by-name", params=name) as got:
                found = str(got["experiment"]["experiment_id"])
        except MlflowRefusedError as exc:
            if exc.status != 404:
                raise
            found = await self._make_experiment()
        self._experiment = found
        return found

    async def _make_experiment(self) -> str:
        made = orjson.dumps({"name": EXPERIMENT})
        try:
            async with self._ask("POST", f"{V2}/experiments/create", data=made) as got:
                return str(got["experiment_id"])
        except MlflowRefusedError as exc:  # no MLflow, or another server was quicker
            raise MlflowAwayError(str(exc)) from exc

    async def _send_feedback(self, trace_id: str, feedback: Feedback) -> None:
        """Replace what the trace has from here by this."""
        place = f"{V3}/traces/{trace_id}"
        try:
            async with self._ask("GET", place) as got:
                known = got["trace"]["trace_info"].get("assessments", [])
            for each in known:
                if each["assessment_name"] in {"thumb", "comment"}:
                    old = f"{place}/assessments/{each['assessment_id']}"
                    async with self._ask("DELETE", old):
                        pass
            if feedback == Feedback(None, None):
                return
            new = {"assessment": _assessment(feedback)}
            async with self._ask("POST", f"{place}/assessments", data=orjson.dumps(new)):
                pass
        except MlflowRefusedError as exc:
            log.warning("MLflow refuses feedback", trace=trace_id, reason=str(exc))

    @asynccontextmanager
    async def _ask(self, method: str, path: str, **how: Any) -> AsyncIterator[Any]:
        """One request; what it answers, read as JSON if it is any.

        Raises:
            MlflowAwayError: nobody answers, or a server that has trouble.
            MlflowRefusedError: it says that the request is wrong.
        """
        headers = {"Content-Type": "application/json"} | how.pop("headers", {})
        try:
            async with self._session.request(
                method, f"{self._url}{path}", headers=headers, **how
            ) as got:
                said = await got.read()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise MlflowAwayError(f"{self._url}: {str(exc) or type(exc).__name__}") from exc
        if got.status >= 500 or got.status in {401, 403, 429}:
            raise MlflowAwayError(f"{self._url} answers HTTP {got.status}")
        if got.status >= 400:
            text = f"{path}: HTTP {got.status}: {said[:300].decode(errors='replace')}"
            raise MlflowRefusedError(got.status, text)
        if self._away:
            log.info("MLflow is back")
            self._away = False
        try:
            yield orjson.loads(said) if got.content_type == "application/json" else None
        except (LookupError, TypeError, orjson.JSONDecodeError) as exc:
            raise MlflowAwayError(f"what answers at {self._url} is no MLflow") from exc

    def _forget_oldest(self) -> None:
        while len(self._traces) > HELD_TRACES:
            self._traces.popleft()
            metrics.TRACES_LOST.inc()


def _assessment(feedback: Feedback) -> dict[str, Any]:
    """As MLflow has it: https://mlflow.org/docs/latest/genai/assessments/feedback/."""
    common = {"source": {"source_type": "HUMAN", "source_id": "chat-server"}}
    if feedback.thumb is None:
        said = {"assessment_name": "comment", "feedback": {"value": feedback.comment}}
        return said | common
    said = {"assessment_name": "thumb", "feedback": {"value": feedback.thumb == "up"}}
    if feedback.comment:
        said["rationale"] = feedback.comment
    return said | common
