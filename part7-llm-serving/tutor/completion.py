"""A finished answer in OpenAI's shapes: whole, or as the chunks of a stream."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tutor import tokens
from tutor.answer import Tutor
from tutor.errors import ApiError
from tutor.schemas import ChatRequest

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Completion:
    """An answer, cut where the request says, before any of it is sent."""

    model: str
    pieces: list[str]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the question, of the answer, and of both."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": len(self.pieces),
            "total_tokens": self.prompt_tokens + len(self.pieces),
        }

    def whole(self) -> bytes:
        """The answer as one JSON document."""
        message = {"role": "assistant", "content": "".join(self.pieces), "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self.finish_reason,
        }
        document = self._head("chat.completion") | {"choices": [choice], "usage": self.usage}
        return orjson.dumps(document)

    def chunk(
        self, delta: dict[str, str], finish_reason: str | None = None, *, with_usage: bool
    ) -> bytes:
        """One event of a stream; `with_usage` says whether the last one will have the usage."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        document = self._head("chat.completion.chunk") | {"choices": [choice]}
        return event(document | ({"usage": None} if with_usage else {}))

    def usage_chunk(self) -> bytes:
        """The event after the last one of the answer."""
        return event(self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def event(document: dict[str, Any]) -> bytes:
    """A JSON document as a server-sent event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


def complete(request: ChatRequest, tutor: Tutor) -> Completion:
    """The answer to a request.

    Raises:
        ApiError: the messages are longer than a model's context would be.
    """
    prompt_tokens = sum(tokens.count(message.content) for message in request.messages)
    if prompt_tokens > tokens.MAX_MODEL_LEN:
        raise ApiError(
            400,
            f"this model's maximum context length is {tokens.MAX_MODEL_LEN} tokens, your messages "
            f"have {prompt_tokens}; shorten them",
            "messages",
            "context_length_exceeded",
        )
    left = tokens.MAX_MODEL_LEN - prompt_tokens
    limit = min(left, request.token_limit or left)
    answer = tutor.answer(request.conversation)
    pieces, finish_reason = cut(tokens.pieces_of(answer), limit, request.stop or [])
    return Completion(request.model, pieces, finish_reason, prompt_tokens, tutor.fingerprint)


def cut(
    pieces: list[str], limit: int, stops: Iterable[str]
) -> tuple[list[str], Literal["stop", "length"]]:
    """The pieces up to the first stop string or to so many tokens, whichever comes first.

    The answer is there before it is sent, so a stop string that spans tokens needs no look-ahead.
    """
    said = "".join(pieces[:limit])
    ends = [place for stop in stops if (place := said.find(stop)) >= 0]
    if not ends:
        return pieces[:limit], "length" if len(pieces) > limit else "stop"
    kept: list[str] = []
    left = min(ends)
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept, "stop"
