"""A turn's server-sent events, whole even if the connection breaks on the way.

Each `delta` has an id, which is how much of the text there is with it. Whoever comes again with
that id as `Last-Event-ID` gets what follows, so no word is missed and none comes twice.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx2
from pydantic import BaseModel

from demo.errors import AwayError, RefusedError, refused
from demo.schemas import Message

GIVE_UP_SECONDS = 60.0  # without a word from the server: longer than a restart takes
# The server sends a comment every 15 s; if two are missing, nobody is there.
TIMEOUT = httpx2.Timeout(10.0, connect=3.0, read=40.0)
LARGEST_EVENT = 16 * 1024 * 1024  # `done` holds the whole reply


class Turn(BaseModel):
    """The user's message and its reply have these ids."""

    message_id: int
    reply_id: int


@dataclass(frozen=True)
class Delta:
    """More of the text."""

    text: str


@dataclass(frozen=True)
class Trouble:
    """The reply did not succeed."""

    detail: str


@dataclass(frozen=True)
class Done:
    """The reply has ended, and is kept like this."""

    reply: Message


Event = Turn | Delta | Trouble | Done


@dataclass(frozen=True)
class Request:
    """A POST that begins a turn; `repeatable` if doing it twice does not make a second turn."""

    path: str
    body: dict[str, object]
    headers: dict[str, str]
    repeatable: bool


class TurnStream:
    """The events of one turn: iterate over `begin(...)` or `follow(...)` once."""

    def __init__(self, http: httpx2.AsyncClient, conversation_id: int) -> None:
        self._http = http
        self._messages = f"/api/v1/conversations/{conversation_id}/messages"
        self._reply_id: int | None = None
        self._last_id = ""
        self._ended = False
        self._trouble: Trouble | None = None
        self._heard = time.monotonic()

    async def begin(self, request: Request) -> AsyncGenerator[Event]:
        """Post, and yield the events.

        Raises:
            AwayError: nobody is there, or nobody came back.
            RefusedError: the server will not do it.
        """
        sent = False
        while self._reply_id is None:
            try:
                async for event in self._events(
                    "POST", request.path, request.headers, request.body
                ):
                    yield event
            except httpx2.TransportError as exc:
                if not sent and isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout):
                    # What never left is not worth waiting for: better to say so at once.
                    raise AwayError(f"{self._http.base_url} does not answer") from exc
                if self._reply_id is None and not request.repeatable:
                    raise AwayError("the connection broke, maybe after it was asked") from exc
                sent = True
                await self._pause()
            else:
                self._raise_trouble()
                if self._reply_id is None:
                    raise AwayError("the answer had no events")
        async for event in self.follow(self._reply_id):
            yield event

    async def follow(self, reply_id: int) -> AsyncGenerator[Event]:
        """Yield the events of a reply from where we are.

        Raises:
            AwayError: nobody is there, or nobody came back.
            RefusedError: the server will not do it.
        """
        path = f"{self._messages}/{reply_id}/stream"
        while not self._ended:
            headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
            try:
                async for event in self._events("GET", path, headers):
                    yield event
            except httpx2.TransportError:
                await self._pause()
            except RefusedError as exc:
                if exc.status < 500:
                    raise
                await self._pause()
            else:
                self._raise_trouble()
                if not self._ended:  # a server that is stopping closes in good order
                    await self._pause()

    async def _events(
        self, method: str, path: str, headers: dict[str, str], body: object = None
    ) -> AsyncGenerator[Event]:
        async with self._http.sse(
            path,
            method=method,
            json=body,
            headers=headers,
            timeout=TIMEOUT,
            max_event_size=LARGEST_EVENT,
        ) as source:
            if source.response.is_error:
                await source.response.aread()
                raise refused(source.response)
            async for each in source:
                self._heard = time.monotonic()
                if (event := self._note(each)) is not None:
                    yield event

    def _note(self, each: httpx2.ServerSentEvent) -> Event | None:
        match each.event:
            case "turn":
                turn = Turn.model_validate_json(each.data)
                self._reply_id = turn.reply_id
                return turn
            case "delta":
                self._last_id = each.id
                return Delta(str(_mapping(each)["text"]))
            case "error":
                self._trouble = Trouble(str(_mapping(each).get("detail", each.data)))
                return self._trouble
            case "done":
                self._ended = True
                return Done(Message.model_validate_json(each.data))
        return None

    def _raise_trouble(self) -> None:
        """What went wrong, if that was the last word."""
        if self._trouble is not None and not self._ended:
            raise RefusedError(500, "No reply", self._trouble.detail)

    async def _pause(self) -> None:
        silence = time.monotonic() - self._heard
        if silence > GIVE_UP_SECONDS:
            raise AwayError("the connection broke, and nobody came back")
        await asyncio.sleep(min(2.0, 0.1 + silence / 4))


def _mapping(each: httpx2.ServerSentEvent) -> dict[str, object]:
    read = each.json()
    return read if isinstance(read, dict) else {}
