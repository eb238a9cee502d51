"""The names of OpenTelemetry's conventions for generative AI, and the values that go with them.

They are still being developed, so no other module knows them:
https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from serve.core.errors import ModelError
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

# What is held while MLflow is away must not be much, however much is said.
LONGEST_TEXT, LONGEST_ATTRIBUTE = 8_000, 64_000
Values = dict[str, str | int | float | bool | Sequence[str]]


def answer(got: Answer, waited: float) -> Values:
    """What is known of an answer whose first token came after `waited` seconds."""
    values: Values = {TIME_TO_FIRST_CHUNK: waited, **place(got.url)}
    if got.finish_reason:
        values[FINISH_REASONS] = [got.finish_reason]
    if got.usage:
        values[INPUT_TOKENS] = got.usage["prompt_tokens"]
        values[OUTPUT_TOKENS] = got.usage["completion_tokens"]
    return values


def named(about: Mapping[str, str | int]) -> Values:
    """What a trace is about, by our words for it."""
    names = {
        "conversation_id": CONVERSATION_ID,
        "message_id": MESSAGE_ID,
        "reply_id": REPLY_ID,
        "request_id": REQUEST_ID,
    }
    # The convention wants a text for a conversation's id.
    return {names[k]: str(v) if k == "conversation_id" else v for k, v in about.items()}


def request(asked: Asked) -> Values:
    """What a model is asked, without the messages."""
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


def messages(said: Sequence[Mapping[str, Any]], finish_reason: str | None = None) -> str:
    """Messages in the shape of the convention."""
    shaped = []
    for each in said:
        parts = [{"type": "text", "content": short(each["content"])}]
        shaped.append({"role": each["role"], "parts": parts})
    if finish_reason is not None:
        shaped[-1]["finish_reason"] = finish_reason
    return orjson.dumps(shaped).decode()


def place(url: str) -> dict[str, str | int]:
    """Where a model server is."""
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    return {SERVER_ADDRESS: place.hostname or "", SERVER_PORT: port}


def short(text: str) -> str:
    """A text, cut if it is very long."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def error_type(exc: BaseException) -> str:
    """What went wrong, in a word."""
    return exc.kind if isinstance(exc, ModelError) else type(exc).__name__
