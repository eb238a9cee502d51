"""A reply while it is generated: it belongs to the server, and anybody may follow it."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable

from serve.core.errors import ChatError
from serve.core.llm_answer import Answer
from serve.core.tracing import Trace
from serve.cruds.turns import Begun
from serve.models import Status
from serve.services.context import Context

COMMENT_SECONDS = 15.0  # without news, so that no proxy takes a stream for dead


class Generation:
    """Text that grows, and how it ended. Positions count characters from the beginning."""

    def __init__(self, begun: Begun, trace: Trace) -> None:
        self.begun = begun
        self.trace = trace
        self.begun_at = time.perf_counter()
        self.status: Status | None = None  # None while it runs
        self.failure: ChatError | None = None
        self.trouble: ChatError | None = None  # has ended, and the database does not take it yet
        self.answer: Answer | None = None
        self.context: Context | None = None
        self.chunks = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.followers = 0
        self._woken_at = self.begun_at
        self.length = 0
        self._pieces: list[str] = []
        self._starts: list[int] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._afterwards: list[Callable[[], None]] = []

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._pieces)

    def add(self, text: str, chunks: int) -> None:
        """More text has come."""
        self.last_at = time.perf_counter()
        self.first_at = self.first_at or self.last_at
        self.chunks += chunks
        self._starts.append(self.length)
        self._pieces.append(text)
        self.length += len(text)
        self._wake()

    def end(self, status: Status, failure: ChatError | None = None) -> None:
        """It has ended, and the database knows."""
        self.status = status
        self.failure = failure
        self._wake()
        for call in self._afterwards:
            call()

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call this when it has ended and the database knows."""
        self._afterwards.append(call)

    def cannot_be_kept(self, trouble: ChatError) -> None:
        """It has ended, but how is not in the database yet: followers need not wait for that."""
        self.trouble = trouble
        self._wake()

    async def follow(self, position: int = 0) -> AsyncIterator[tuple[str, int]]:
        """What comes after `position`, and where it ends; "" when nothing has come for long."""
        self.followers += 1
        try:
            while True:
                if self.length > position:
                    text = self._since(position)
                    position = self.length
                    yield text, position
                elif self.status is not None or self.trouble is not None:
                    return
                elif not await self._news():
                    yield "", position
        finally:
            self.followers -= 1

    async def wait(self) -> None:
        """Until it has ended.

        Raises:
            ChatError: the database does not take its end.
        """
        while self.status is None:
            if self.trouble is not None:
                raise self.trouble
            await self._news()

    def _since(self, position: int) -> str:
        index = bisect_right(self._starts, position) - 1
        first = self._pieces[index][position - self._starts[index] :]
        return "".join((first, *self._pieces[index + 1 :]))

    def nudge(self) -> None:
        """Let followers say that they are still there, if nothing has come for long."""
        if time.perf_counter() - self._woken_at >= COMMENT_SECONDS:
            self._wake()

    async def _news(self) -> bool:
        """Wait for a change; False if it was none. A future costs a third of an Event."""
        before = (self.length, self.status, self.trouble)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting
        return before != (self.length, self.status, self.trouble)

    def _wake(self) -> None:
        self._woken_at = time.perf_counter()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
