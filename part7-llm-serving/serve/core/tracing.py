"""What a turn took, as spans with the names of OpenTelemetry's conventions for generative AI.

They are still being developed, so no other module knows them:
https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, Status, StatusCode

from serve.core.errors import ChatError, ModelError
from serve.core.llm_answer import Answer
from serve.core.llm_request import Asked

CONVERSATION_ID = "gen_ai.conversation.id"
ERROR_TYPE = "error.type"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_MESSAGES = "gen_ai.input.messages"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OPERATION_NAME = "gen_ai.operation.name"
OUTPUT_MESSAGES = "gen_ai.output.messages"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
# Ours, for which there is no convention.
OUTCOME = "chat.outcome"
MESSAGE_ID = "chat.message.id"
REPLY_ID = "chat.reply.id"
REQUEST_ID = "chat.request.id"
# Which MLflow shows; of a call of a model it knows them by the names above.
SPAN_TYPE = "mlflow.spanType"
TRACE_NAME = "mlflow.traceTag.mlflow.traceName"
TRACE_OUTCOME = "mlflow.traceTag.outcome"
INPUTS, OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"

WORTH_A_SPAN_NS = 5_000_000
# What is held while MLflow is away must not be much, however much is said.
LONGEST_TEXT, LONGEST_ATTRIBUTE = 8_000, 64_000
_Values = dict[str, str | int | float | bool | Sequence[str]]


class Tracing:
    """Makes traces; with no processor to take them, such as cost nothing."""

    def __init__(self, processor: SpanProcessor | None = None, *, content: bool = True) -> None:
        self._content = content
        if processor is None:
            self._tracer = NoOpTracerProvider().get_tracer("serve")
            return
        # Only here: the process belongs to whoever runs it, and so do OpenTelemetry's globals.
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": "chat-server"}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=LONGEST_ATTRIBUTE),
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("serve")

    def begin(self, name: str, since: int | None = None, **about: str | int) -> "Trace":
        """Begin a trace, now or at `since` (nanoseconds since 1970)."""
        span = self._tracer.start_span(name, Context(), start_time=since)
        span.set_attributes({SPAN_TYPE: "CHAIN", TRACE_NAME: name, **_named(about)})
        return Trace(self._tracer, span, content=self._content)


class Trace:
    """One turn, and in it what took its time."""

    def __init__(self, tracer: trace.Tracer, root: Span, *, content: bool) -> None:
        self._tracer = tracer
        self._root = root
        self._content = content
        self._within = trace.set_span_in_context(root, Context())

    @property
    def id(self) -> str | None:
        """What MLflow calls it; None if nobody takes it."""
        known = self._root.get_span_context()
        return f"tr-{known.trace_id:032x}" if known.is_valid else None

    def took(self, name: str, since: int) -> None:
        """Say what has been done since then, if it took long enough to be seen."""
        if time.time_ns() - since >= WORTH_A_SPAN_NS:
            about = {SPAN_TYPE: "TASK"}
            self._tracer.start_span(name, self._within, attributes=about, start_time=since).end()

    @contextmanager
    def asking(self, asked: Asked, text: Callable[[], str]) -> Iterator["Call"]:
        """The call of the model, with all its attempts; `text` gives what has come of it."""
        config = asked.config
        span = self._tracer.start_span(
            f"chat {config.model_name}", self._within, kind=SpanKind.CLIENT
        )
        call = Call(span, content=self._content)
        if span.is_recording():
            span.set_attributes(_request(asked))
            if self._content:
                span.set_attribute(INPUT_MESSAGES, _messages(asked.messages))
        try:
            yield call
        except BaseException as exc:
            call.failed(exc)
            raise
        finally:
            if span.is_recording():
                span.set_attributes(call.outcome())
                if self._content:
                    said = {"role": "assistant", "content": text()}
                    span.set_attribute(OUTPUT_MESSAGES, _messages([said], call.finish_reason))
            span.end()

    def end(
        self,
        outcome: str,
        failure: ChatError | None = None,
        question: str = "",
        text: str = "",
    ) -> None:
        """End it: with what was asked and what came of it, complete or not."""
        if self._root.is_recording():
            values: _Values = {OUTCOME: outcome, TRACE_OUTCOME: outcome}
            if self._content:
                values |= {INPUTS: _short(question), OUTPUTS: _short(text)}
            if failure is not None:
                values[ERROR_TYPE] = _error_type(failure)
                self._root.set_status(_failed(failure, content=self._content))
            else:
                self._root.set_status(Status(StatusCode.OK))
            self._root.set_attributes(values)
        self._root.end()


class Call:
    """A call of the model, which gets to know its answer as it comes."""

    def __init__(self, span: Span, *, content: bool) -> None:
        self._span = span
        self._content = content
        self._begun = time.perf_counter()
        self._first_after: float | None = None
        self._answer: Answer | None = None

    def answered(self, answer: Answer) -> None:
        """The first token is there."""
        self._first_after = time.perf_counter() - self._begun
        self._answer = answer

    @property
    def finish_reason(self) -> str | None:
        """Why the model ended, as far as it said."""
        return self._answer.finish_reason if self._answer else None

    def headers(self) -> dict[str, str]:
        """What tells a model server that makes spans, too, where they belong.

        https://www.w3.org/TR/trace-context/#traceparent-header
        """
        known = self._span.get_span_context()
        if not known.is_valid:
            return {}
        return {"traceparent": f"00-{known.trace_id:032x}-{known.span_id:016x}-01"}

    def attempt_failed(self, endpoint: str, exc: ModelError) -> None:
        """One of the attempts failed; the next one may not."""
        said = {**_place(endpoint), ERROR_TYPE: exc.kind}
        if self._content:
            said["exception.message"] = str(exc)
        self._span.add_event("attempt failed", said)

    def failed(self, exc: BaseException) -> None:
        """It ended before its end."""
        self._span.set_attribute(ERROR_TYPE, _error_type(exc))
        self._span.set_status(_failed(exc, content=self._content))

    def outcome(self) -> _Values:
        """What is known at the end."""
        values: _Values = {}
        answer = self._answer
        if answer is None or self._first_after is None:
            return values
        values |= {TIME_TO_FIRST_CHUNK: self._first_after, **_place(answer.url)}
        if answer.finish_reason:
            values[FINISH_REASONS] = [answer.finish_reason]
        if answer.usage:
            values[INPUT_TOKENS] = answer.usage["prompt_tokens"]
            values[OUTPUT_TOKENS] = answer.usage["completion_tokens"]
        return values


def nanoseconds(moment: datetime) -> int:
    """A moment as spans have it."""
    return int(moment.timestamp() * 1_000_000) * 1_000


def _named(about: Mapping[str, str | int]) -> _Values:
    names = {
        "conversation_id": CONVERSATION_ID,
        "message_id": MESSAGE_ID,
        "reply_id": REPLY_ID,
        "request_id": REQUEST_ID,
    }
    # The convention wants a text for a conversation's id.
    return {names[k]: str(v) if k == "conversation_id" else v for k, v in about.items()}


def _request(asked: Asked) -> _Values:
    config = asked.config
    known: dict[str, str | int | float | bool | list[str] | None] = {
        OPERATION_NAME: "chat",
        PROVIDER_NAME: "openai",  # whose protocol it is: nothing says who stands behind it
        REQUEST_MODEL: config.model_name,
        REQUEST_STREAM: True,
        REQUEST_TEMPERATURE: config.temperature,
        REQUEST_TOP_P: config.top_p,
        REQUEST_MAX_TOKENS: config.max_tokens,
        REQUEST_STOP_SEQUENCES: config.stop,
    }
    return {name: value for name, value in known.items() if value is not None}


def _messages(said: Sequence[Mapping[str, Any]], finish_reason: str | None = None) -> str:
    shaped = []
    for each in said:
        parts = [{"type": "text", "content": _short(each["content"])}]
        shaped.append({"role": each["role"], "parts": parts})
    if finish_reason is not None:
        shaped[-1]["finish_reason"] = finish_reason
    return orjson.dumps(shaped).decode()


def _place(url: str) -> dict[str, str | int]:
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    return {SERVER_ADDRESS: place.hostname or "", SERVER_PORT: port}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _failed(exc: BaseException, *, content: bool) -> Status:
    """Without content no reason, either: model servers quote what they were asked."""
    return Status(StatusCode.ERROR, (str(exc) if content else "") or _error_type(exc))


def _error_type(exc: BaseException) -> str:
    return exc.kind if isinstance(exc, ModelError) else type(exc).__name__
