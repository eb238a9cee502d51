"""What a turn took, as spans of OpenTelemetry."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode

from serve.core import genai
from serve.core.errors import ChatError, ModelError
from serve.core.llm_answer import Answer
from serve.core.llm_request import Asked

WORTH_A_SPAN_NS = 5_000_000


class Tracing:
    """Makes traces; with no processor to take them, such as cost nothing."""

    def __init__(self, processor: SpanProcessor | None = None, *, content: bool = True) -> None:
        self._content = content
        self._ids = _Ids()
        self._tracer: trace.Tracer | None = None
        if processor is None:
            return
        # Only here: the process belongs to whoever runs it, and so do OpenTelemetry's globals.
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": "chat-server"}),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(max_span_attribute_length=genai.LONGEST_ATTRIBUTE),
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("serve")

    def begin(self, name: str, since: int | None = None, **about: str | int) -> "Trace":
        """Begin a trace, now or at `since` (nanoseconds since 1970)."""
        about = {"name": name, **about}
        return Trace(self._tracer, self._ids, about, since or time.time_ns(), content=self._content)


class _Ids(RandomIdGenerator):
    """Gives the next span the ids that were told before it was made."""

    trace_id: int | None = None
    span_id: int | None = None

    def generate_trace_id(self) -> int:
        told, self.trace_id = self.trace_id, None
        return told or super().generate_trace_id()

    def generate_span_id(self) -> int:
        told, self.span_id = self.span_id, None
        return told or super().generate_span_id()


class Trace:
    """One turn, and in it what took its time.

    The spans are made at its end: a stream that is open for long would hold them, and the first
    token would wait for them.
    """

    def __init__(
        self,
        tracer: trace.Tracer | None,
        ids: _Ids,
        about: dict[str, str | int],
        since: int,
        *,
        content: bool,
    ) -> None:
        self._tracer = tracer
        self._ids = ids
        self._about = about
        self._since = since
        self._content = content
        self._trace_id = ids.generate_trace_id()
        self._steps: list[tuple[str, int, int]] = []
        self._calls: list[Call] = []

    @property
    def id(self) -> str | None:
        """What MLflow calls it; None if nobody takes it."""
        return f"tr-{self._trace_id:032x}" if self._tracer else None

    def took(self, name: str, since: int) -> None:
        """Say what has been done since then, if it took long enough to be seen."""
        now = time.time_ns()
        if self._tracer is not None and now - since >= WORTH_A_SPAN_NS:
            self._steps.append((name, since, now))

    @contextmanager
    def asking(self, asked: Asked, text: Callable[[], str]) -> Iterator["Call"]:
        """The call of the model, with all its attempts; `text` gives what has come of it."""
        traceparent = ""
        span_id = self._ids.generate_span_id()
        if self._tracer is not None:
            traceparent = f"00-{self._trace_id:032x}-{span_id:016x}-01"
        call = Call(asked, text, span_id, traceparent)
        self._calls.append(call)
        try:
            yield call
        except BaseException as exc:
            call.failure = exc
            raise
        finally:
            call.ended_at = time.time_ns()

    def end(
        self,
        outcome: str,
        failure: ChatError | None = None,
        question: str = "",
        text: str = "",
    ) -> None:
        """End it: with what was asked and what came of it, complete or not."""
        tracer = self._tracer
        if tracer is None:
            return
        self._ids.trace_id = self._trace_id
        name = str(self._about.pop("name"))
        root = tracer.start_span(name, Context(), start_time=self._since)
        within = trace.set_span_in_context(root, Context())
        for step, begun, ended in self._steps:
            tracer.start_span(
                step, within, attributes={genai.SPAN_TYPE: "TASK"}, start_time=begun
            ).end(ended)
        for call in self._calls:
            self._ids.span_id = call.span_id
            call.make_span(tracer, within, content=self._content)
        values: genai.Values = {
            genai.SPAN_TYPE: "CHAIN",
            genai.TRACE_NAME: name,
            **genai.named(self._about),
            genai.OUTCOME: outcome,
            genai.TRACE_OUTCOME: outcome,
        }
        if self._content:
            values |= {genai.INPUTS: genai.short(question), genai.OUTPUTS: genai.short(text)}
        if failure is not None:
            values[genai.ERROR_TYPE] = genai.error_type(failure)
            root.set_status(_failed(failure, content=self._content))
        else:
            root.set_status(Status(StatusCode.OK))
        root.set_attributes(values)
        root.end()


class Call:
    """A call of the model, which gets to know its answer as it comes."""

    def __init__(
        self, asked: Asked, text: Callable[[], str], span_id: int, traceparent: str
    ) -> None:
        self.span_id = span_id
        # For a model server that makes spans, too: https://www.w3.org/TR/trace-context/
        self.headers = {"traceparent": traceparent} if traceparent else {}
        self.failure: BaseException | None = None
        self.ended_at = 0
        self._asked = asked
        self._text = text
        self._begun_at = time.time_ns()
        self._first_at: int | None = None
        self._answer: Answer | None = None
        self._attempts: list[tuple[int, str, ModelError]] = []

    def answered(self, answer: Answer) -> None:
        """The first token is there."""
        self._first_at = time.time_ns()
        self._answer = answer

    def attempt_failed(self, endpoint: str, exc: ModelError) -> None:
        """One of the attempts failed; the next one may not."""
        self._attempts.append((time.time_ns(), endpoint, exc))

    def make_span(self, tracer: trace.Tracer, within: Context, *, content: bool) -> None:
        """Its span, with what is known by now."""
        span = tracer.start_span(
            f"chat {self._asked.config.model_name}",
            within,
            kind=SpanKind.CLIENT,
            attributes=genai.request(self._asked),
            start_time=self._begun_at,
        )
        for moment, endpoint, exc in self._attempts:
            said = {**genai.place(endpoint), genai.ERROR_TYPE: exc.kind}
            if content:
                said["exception.message"] = str(exc)
            span.add_event("attempt failed", said, moment)
        if self._answer is not None and self._first_at is not None:
            waited = (self._first_at - self._begun_at) / 1e9
            span.set_attributes(genai.answer(self._answer, waited))
        if content:
            reason = self._answer.finish_reason if self._answer else None
            reply = {"role": "assistant", "content": self._text()}
            span.set_attribute(genai.INPUT_MESSAGES, genai.messages(self._asked.messages))
            span.set_attribute(genai.OUTPUT_MESSAGES, genai.messages([reply], reason))
        if self.failure is not None:
            span.set_attribute(genai.ERROR_TYPE, genai.error_type(self.failure))
            span.set_status(_failed(self.failure, content=content))
        span.end(self.ended_at)


def nanoseconds(moment: datetime) -> int:
    """A moment as spans have it."""
    return int(moment.timestamp() * 1_000_000) * 1_000


def _failed(exc: BaseException, *, content: bool) -> Status:
    """Without content no reason, either: model servers quote what they were asked."""
    return Status(StatusCode.ERROR, (str(exc) if content else "") or genai.error_type(exc))
