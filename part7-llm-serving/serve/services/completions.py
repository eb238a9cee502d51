"""OpenAI's protocol: what comes in, and what goes out, whole or as events."""

import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from serve.core.errors import ChatError
from serve.core.sse import COMMENT
from serve.cruds.messages import Said
from serve.schemas.completion import (
    AnswerMessage,
    Choice,
    CompletionIn,
    CompletionOut,
    Usage,
)
from serve.services.generation import Generation
from serve.services.passing import Passing

END = b"data: [DONE]\n\n"


def said_in(asked: CompletionIn) -> list[Said]:
    """The messages of a request."""
    return [
        Said("system" if each.role == "developer" else each.role, each.text)
        for each in asked.messages
    ]


class Shape:
    """The protocol's documents for one answer."""

    def __init__(self, model: str, name: str | None = None) -> None:
        self.id = f"chatcmpl-{name or secrets.token_hex(12)}"
        self.created = int(time.time())
        self.model = model

    def whole(self, text: str, reason: str | None, usage: dict[str, Any] | None) -> CompletionOut:
        """A whole answer."""
        choice = Choice(message=AnswerMessage(content=text), finish_reason=reason or "stop")
        return CompletionOut(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[choice],
            usage=Usage.model_validate(usage) if usage else None,
        )

    def chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        """One event of a stream."""
        return self._event([{"index": 0, "delta": delta, "finish_reason": reason}])

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event that counts the tokens."""
        return self._event([], usage=Usage.model_validate(usage).model_dump())

    def error(self, exc: ChatError) -> bytes:
        """The event of an answer that broke off."""
        error = {"message": str(exc), "type": "server_error", "code": exc.status}
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        return b"data: " + orjson.dumps(chunk | more) + b"\n\n"


async def passing_events(
    passing: Passing, shape: Shape, *, include_usage: bool
) -> AsyncGenerator[bytes]:
    """The stream of an answer that nobody keeps."""
    yield shape.chunk({"role": "assistant", "content": ""})
    try:
        async for text in passing.pieces():
            yield shape.chunk({"content": text})
    except ChatError as exc:
        yield shape.error(exc)
        return
    yield shape.chunk({}, passing.answer.finish_reason)
    if include_usage and passing.answer.usage:
        yield shape.usage(passing.answer.usage)
    yield END


async def kept_events(
    generation: Generation, shape: Shape, *, include_usage: bool
) -> AsyncGenerator[bytes]:
    """The stream of an answer that is kept."""
    yield shape.chunk({"role": "assistant", "content": ""})
    async for text, _ in generation.follow():
        yield shape.chunk({"content": text}) if text else COMMENT
    failure = generation.failure or generation.trouble
    if failure is not None:
        yield shape.error(failure)
        return
    answer = generation.answer
    yield shape.chunk({}, (answer.finish_reason if answer else None) or "stop")
    if include_usage and answer and answer.usage:
        yield shape.usage(answer.usage)
    yield END
