"""How many replies are generated at once, and how many may wait for their turn."""

import asyncio
from collections import deque
from types import TracebackType

from serve.core import metrics
from serve.core.errors import BusyError


class Gate:
    """Bounded concurrency with a bounded queue, first come first served."""

    def __init__(self, running: int, queued: int) -> None:
        self._places = running
        self._queued = queued
        self._running = 0
        self._reserved = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def reserve(self) -> "Ticket":
        """Claim a place in the queue, before anything is written.

        Raises:
            BusyError: running and waiting replies are as many as may be.
        """
        known = self._running + self._reserved
        if known >= self._places + self._queued:
            metrics.REFUSED.inc()
            running = min(known, self._places)  # a reservation may be about to take its place
            raise BusyError(f"{running} replies are running and {known - running} wait; try again")
        self._reserved += 1
        metrics.QUEUED.inc()
        return Ticket(self)

    async def take_place(self) -> None:
        """Wait for a place; who leaves hands its own over."""
        if self._running < self._places:
            self._running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place came in the same moment
                self.leave_place()
            raise

    def leave_place(self) -> None:
        """Give the place to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing is generated."""
        return self._running == 0

    def unreserve(self) -> None:
        """A ticket is used or given back."""
        self._reserved -= 1
        metrics.QUEUED.dec()


class Ticket:
    """A reservation: enter with it once, or give it back."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._valid = True

    def give_back(self) -> None:
        """Nobody will enter with it; harmless after somebody has."""
        if self._valid:
            self._valid = False
            self._gate.unreserve()

    async def __aenter__(self) -> None:
        """Wait for a place."""
        try:
            await self._gate.take_place()
        finally:
            self.give_back()
        metrics.RUNNING.inc()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        """Leave it to the next one."""
        metrics.RUNNING.dec()
        self._gate.leave_place()
