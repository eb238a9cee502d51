"""OpenAI's protocol: ask the model as the client asked, and keep the exchange if it says so."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson

from serve.core.errors import ChatError
from serve.core.llm import Asked, LlmClient
from serve.core.llm_answer import Answer
from serve.core.request_id import REQUEST_ID
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
from serve.services.generations import Generations

END = b"data: [DONE]\n\n"


@dataclass
class Passing:
    """An answer that nobody keeps, open since its first token."""

    answer: Answer
    stack: AsyncExitStack

    async def pieces(self) -> AsyncGenerator[str]:
        """Its text, and the connection closed behind it."""
        async with self.stack:
            async for piece in self.answer:
                yield piece.text

    async def text(self) -> str:
        """All of it."""
        return "".join([piece async for piece in self.pieces()])


def said_in(asked: CompletionIn) -> list[Said]:
    """The messages of a request."""
    return [
        Said("system" if each.role == "developer" else each.role, each.text)
        for each in asked.messages
    ]


async def open_passing(asked: CompletionIn, llm: LlmClient, generations: Generations) -> Passing:
    """Ask the model, and return when its first token is there.

    Raises:
        BusyError: too many replies are running and waiting.
        ModelError: no model server gave an answer.
    """
    messages = [{"role": each.role, "content": each.content} for each in said_in(asked)]
    stack = AsyncExitStack()
    try:
        await stack.enter_async_context(generations.gate.reserve())
        request = Asked(messages, asked.config(), REQUEST_ID.get())
        answer = await stack.enter_async_context(llm.open(request))
    except BaseException:
        await stack.aclose()
        raise
    return Passing(answer, stack)


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
