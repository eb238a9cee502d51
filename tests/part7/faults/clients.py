"""Clients of the chat server as the matrix has them, all at once in one event loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.part7.faults.cells import NO_TOKEN, Client, Turn
from tests.part7.faults.expectations import Problem
from tests.part7.servers import KEY, Event

WAIT = aiohttp.ClientTimeout(total=None)


@dataclass
class Seen:
    """What a client has got."""

    http: int | None = None
    events: list[Event] = field(default_factory=list)
    problem: Problem | None = None

    @property
    def last_events(self) -> tuple[str, ...]:
        """What comes after the text."""
        return tuple(each.name for each in self.events if each.name not in {"turn", "delta"})

    @property
    def text(self) -> str:
        """What the deltas say together."""
        return "".join(each.data["text"] for each in self.events if each.name == "delta")


class TurnClient:
    """One client with one turn, which does what its cell says when it is told to."""

    def __init__(self, turn: Turn, session: aiohttp.ClientSession, conversation: int) -> None:
        self.turn = turn
        self.conversation = conversation
        self.seen = Seen()
        self.has_begun = asyncio.Event()  # the event `turn` is here
        self.has_token = asyncio.Event()
        self.go = asyncio.Event()  # leave, or read on
        self._session = session
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask."""
        self._task = asyncio.create_task(self._run(), name=self.turn.name)

    async def end(self) -> None:
        """Go on, to the end."""
        self.go.set()
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        asking = asyncio.create_task(self._stream() if self.turn.stream else self._whole())
        if self.turn.leaves:
            await self.go.wait()
            asking.cancel()
        await asyncio.wait({asking})
        if self.turn.leaves:
            self.seen.http = self.seen.problem = None
            return
        asking.result()

    async def _whole(self) -> None:
        try:
            async with self._post() as answer:
                self.seen.http = answer.status
                body = json.loads(await answer.read())
                if answer.status >= 400:
                    self.seen.problem = Problem(body["status"])
        except aiohttp.ClientError:
            self.seen.http = 0  # the connection broke

    async def _stream(self) -> None:
        try:
            async with self._post() as answer:
                self.seen.http = answer.status
                async for event in _events(answer):
                    self.seen.events.append(event)
                    self._notice(event)
                    if event.name == self._pauses_at:
                        await self.go.wait()
        except aiohttp.ClientError:
            pass  # an end without the event `done` says it

    @property
    def _pauses_at(self) -> str | None:
        """The event after which a slow reader reads no more for long."""
        if self.turn.cell.client is not Client.READS_SLOWLY:
            return None
        return "turn" if self.turn.cell.model in NO_TOKEN else "delta"

    def _notice(self, event: Event) -> None:
        match event.name:
            case "turn":
                self.has_begun.set()
            case "delta":
                self.has_token.set()
            case "error":
                self.seen.problem = Problem(event.data["status"], event.data["kind"])

    def _post(self) -> Any:
        return self._session.post(
            f"/api/v1/conversations/{self.conversation}/messages",
            json={
                "content": self.turn.name,
                "stream": self.turn.stream,
                "on_disconnect": self.turn.policy,
            },
        )


def open_session(port: int) -> aiohttp.ClientSession:
    """A session with the key of the chat server."""
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{port}",
        headers=KEY,
        timeout=WAIT,
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
    )


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    name, data = "message", ""
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        field_name, _, value = line.partition(": ")
        match field_name:
            case "event":
                name = value
            case "data":
                data = value
            case "" if not line and data:
                yield Event(name, json.loads(data))
                name, data = "message", ""
