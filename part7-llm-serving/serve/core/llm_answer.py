"""An answer of a model server while it arrives."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from serve.core.errors import ModelAwayError, ModelCutError, ModelError, ModelSlowError
from serve.core.sse import DONE, EventReader


@dataclass(frozen=True)
class Piece:
    """Text that has arrived together, and in how many chunks: tokens, for most servers."""

    text: str
    chunks: int


class Answer:
    """Iterate over its pieces; afterwards `finish_reason` and `usage` are known."""

    def __init__(self, url: str, response: aiohttp.ClientResponse, idle_seconds: float) -> None:
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.url = url
        self._response = response
        self._idle_seconds = idle_seconds
        self._events = EventReader()
        self._first: Piece | None = None
        self._ended = False
        self._broken: ModelError | None = None  # came together with text, which comes first

    async def wait_for_first(self) -> None:
        """Read until there is a token, or the end."""
        while self._first is None and not self._ended:
            self._first = await self._read()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces.

        Raises:
            ModelError: it broke off, stood still, or is no answer.
        """
        if self._first is not None:
            yield self._first
        with cut_as_model_error(self.url):
            while not self._ended:
                try:
                    async with asyncio.timeout(self._idle_seconds):
                        piece = await self._read()
                except TimeoutError:
                    raise ModelSlowError(
                        f"{self.url} sent nothing for {self._idle_seconds:g} s"
                    ) from None
                if piece is not None:
                    yield piece

    def close(self) -> None:
        """Tell the model server that nobody listens any more, or keep a connection that is done."""
        if self._ended:
            self._response.release()
        else:
            self._response.close()

    async def _read(self) -> Piece | None:
        """What the next bytes hold; several chunks come together when there is much to do."""
        if self._broken is not None:
            raise self._broken
        received = await self._response.content.readany()
        if not received:
            self._ended = True
            if self.finish_reason is None:
                raise ModelCutError(f"{self.url} ended its answer before it was complete")
            return None
        texts: list[str] = []
        try:
            for data in self._events.feed(received):
                if data == DONE:
                    if self.finish_reason is None:
                        raise ModelError(f"{self.url} said that it was done, but not why")
                    self._ended = True
                    break
                if text := self._text(data):
                    texts.append(text)
        except ModelError as exc:
            if self._first is None or not texts:  # before the first token, asking again may help
                raise
            self._broken = exc
        return Piece("".join(texts), len(texts)) if texts else None

    def _text(self, data: bytes) -> str:
        try:
            chunk = orjson.loads(data)
            if error := chunk.get("error"):
                raise ModelError(f"{self.url}: {error['message']}"[:300])
            if chunk.get("usage"):
                self.usage = _counts(chunk["usage"])
            if not chunk["choices"]:
                return ""
            choice = chunk["choices"][0]
            if reason := choice.get("finish_reason"):
                self.finish_reason = str(reason)[:50]  # what its column holds
            text = choice["delta"].get("content") or ""
            return str.replace(text, "\0", "\N{REPLACEMENT CHARACTER}")  # no database stores NUL
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError) as exc:
            raise ModelError(f"{self.url} sent a chunk that cannot be read") from exc


def _counts(said: Any) -> dict[str, Any] | None:
    """The tokens, if they are numbers."""
    if not isinstance(said, dict):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: said.get(name) or 0 for name in names}
    usable = all(isinstance(count, int) and count >= 0 for count in counts.values())
    return counts if usable else None


@contextmanager
def cut_as_model_error(url: str) -> Iterator[None]:
    """Say in the domain's words how a connection failed."""
    try:
        yield
    except aiohttp.ClientConnectorError as exc:
        raise ModelAwayError(f"no model server at {url} ({exc.strerror or exc})") from exc
    except aiohttp.ConnectionTimeoutError as exc:
        raise ModelAwayError(f"no model server at {url}: it takes no connection") from exc
    except (aiohttp.ClientError, ConnectionError) as exc:
        raise ModelCutError(f"the connection to {url} broke off") from exc
