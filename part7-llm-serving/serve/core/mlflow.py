"""Sends traces, and what people think of replies, to MLflow; nobody ever waits for it.

Spans go to MLflow's OTLP endpoint: https://mlflow.org/docs/latest/genai/tracing/opentelemetry/
"""

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from serve.core import metrics
from serve.core.config import Settings
from serve.core.mlflow_api import AwayError, MlflowApi, RefusedError

log = structlog.get_logger()

SEND_SECONDS = 1.0  # between two looks at what has come
LONGEST_PAUSE = 15.0  # between attempts while MLflow is away
LAST_SECONDS = 1.0  # for what is left when the server stops, if MLflow was there until then
AT_ONCE = 50  # traces in a request
HELD_TRACES = 1_000  # while MLflow is away; then the oldest are lost
HELD_FEEDBACK = 1_000
ATTEMPTS = 20  # of feedback whose trace is not there yet: it may come from another server


@dataclass(frozen=True)
class Feedback:
    """What somebody thinks of a reply; all None if it was taken back."""

    thumb: str | None
    comment: str | None


class Mlflow(SpanProcessor):
    """Collects what is to be sent, from any thread; `keep_sending` sends it."""

    def __init__(self, settings: Settings) -> None:
        self._api = MlflowApi(settings)
        self._content = settings.trace_content
        self._growing: defaultdict[int, list[ReadableSpan]] = defaultdict(list)
        self._traces: deque[list[ReadableSpan]] = deque()
        self._at_once = AT_ONCE
        self._feedback: dict[str, tuple[Feedback, int]] = {}  # and how often it was tried
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
        if len(self._feedback) >= HELD_FEEDBACK:
            log.warning("too much feedback waits for MLflow; this stays with the message only")
            return
        self._feedback[trace_id] = (feedback, 0)

    async def keep_sending(self) -> None:
        """Send what has come, every second, or less often while MLflow is away."""
        pause = SEND_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self._send_all()
            except AwayError as exc:
                if not self._away:
                    log.warning("MLflow is away; traces wait for it", reason=str(exc))
                self._away = True
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:  # whatever it answers, traces are no reason to stop
                log.exception("traces cannot be sent now")
                pause = LONGEST_PAUSE
            else:
                if self._away:
                    log.info("MLflow is back")
                self._away = False
                pause = SEND_SECONDS

    async def close(self) -> None:
        """Send what is left, if that is a matter of a moment."""
        try:
            if not self._away:
                with suppress(AwayError, TimeoutError):
                    async with asyncio.timeout(LAST_SECONDS):
                        await self._send_all()
        finally:
            await self._api.close()
        if self._traces or self._feedback:
            log.warning(
                "MLflow did not take everything; it is lost to it",
                traces=len(self._traces),
                feedback=len(self._feedback),
            )

    async def _send_all(self) -> None:
        later: dict[str, tuple[Feedback, int]] = {}
        try:
            while self._traces or self._feedback:
                # Traces first: feedback needs its own to be there.
                if self._traces:
                    await self._send_traces()
                    continue
                trace_id, (feedback, attempts) = next(iter(self._feedback.items()))
                came = await self._send_feedback(trace_id, feedback)
                if self._feedback.get(trace_id) != (feedback, attempts):
                    continue  # somebody has changed their mind meanwhile
                del self._feedback[trace_id]
                if not came and attempts + 1 < ATTEMPTS:
                    later[trace_id] = (feedback, attempts + 1)
                elif not came:
                    log.warning("feedback has no trace in MLflow", trace=trace_id)
        finally:
            self._feedback = later | self._feedback

    async def _send_traces(self) -> None:
        batch = [self._traces.popleft() for _ in range(min(self._at_once, len(self._traces)))]
        try:
            # In a thread, because it takes milliseconds and every stream would stand still.
            body = await asyncio.to_thread(_encode, batch)
            await self._api.send(body)
        except RefusedError as exc:
            metrics.TRACES_LOST.inc(len(batch))
            log.warning("MLflow refuses traces", traces=len(batch), reason=str(exc))
        except (AwayError, asyncio.CancelledError) as exc:
            # One of them may be what MLflow cannot digest: the next attempt is with fewer, and one
            # alone is given up as soon as MLflow answers something else.
            poison = isinstance(exc, AwayError) and exc.answered and len(batch) == 1
            if poison and await self._api.answers():
                metrics.TRACES_LOST.inc()
                log.warning("MLflow cannot digest a trace", reason=str(exc))
                return
            self._at_once = max(1, len(batch) // 2)
            self._traces.extendleft(reversed(batch))
            self._forget_oldest()
            raise
        except BaseException:
            metrics.TRACES_LOST.inc(len(batch))
            raise
        self._at_once = AT_ONCE

    async def _send_feedback(self, trace_id: str, feedback: Feedback) -> bool:
        """Replace what the trace has from here by this; False if there is no such trace yet."""
        try:
            await self._api.remove_assessments(trace_id)
            if new := _assessment(feedback, content=self._content):
                await self._api.assess(trace_id, new)
        except RefusedError as exc:
            if exc.status == 404:
                return False
            log.warning("MLflow refuses feedback", trace=trace_id, reason=str(exc))
        return True

    def _forget_oldest(self) -> None:
        while len(self._traces) > HELD_TRACES:
            self._traces.popleft()
            metrics.TRACES_LOST.inc()


def _encode(batch: list[list[ReadableSpan]]) -> bytes:
    spans = encode_spans([span for trace in batch for span in trace])
    return bytes(spans.SerializeToString())


def _assessment(feedback: Feedback, *, content: bool) -> dict[str, Any] | None:
    """As MLflow has it: https://mlflow.org/docs/latest/genai/assessments/feedback/."""
    comment = feedback.comment if content else None
    if feedback.thumb is not None:
        said = {"assessment_name": "thumb", "feedback": {"value": feedback.thumb == "up"}}
        return said | ({"rationale": comment} if comment else {})
    return {"assessment_name": "comment", "feedback": {"value": comment}} if comment else None
