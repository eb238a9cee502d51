"""Server-sent events as a response that does not outlive its client, nor take the reply with it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect the tokens
}
_TEXT = {"type": "string"}
# One event, for an OpenAPI document: the names are those of the format.
EVENTS = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {"event": _TEXT, "data": _TEXT, "id": _TEXT},
            "required": ["data"],
        }
    }
}


class EventStream(StreamingResponse):
    """A response of events; `on_leave` is called when the client leaves before the end.

    `closing` is awaited at the end in any case, also if no event has been asked for.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        on_leave: Callable[[], None] = lambda: None,
        headers: dict[str, str] | None = None,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(events, 200, HEADERS | (headers or {}), "text/event-stream")
        self._events = events
        self._on_leave = on_leave
        self._closing = closing

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or nobody is there."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            left = not sending.done()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait({sending, leaving})
            if self._closing is not None:
                await self._closing()
        if left:
            self._on_leave()
        elif not sending.cancelled() and (exc := sending.exception()) is not None:
            raise exc

    async def _send(self, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_gone[T](
    request: Request, waiting: Coroutine[Any, Any, T], on_leave: Callable[[], None] = lambda: None
) -> T:
    """Wait for something as long as the client does; tell when it leaves before."""
    done = asyncio.ensure_future(waiting)
    leaving = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({done, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            done.cancel()
            await asyncio.wait({done})
            on_leave()
            raise ClientGoneError
        return done.result()
    finally:
        for task in (done, leaving):
            task.cancel()
        await asyncio.wait({done, leaving})


class ClientGoneError(Exception):
    """Nobody is there to answer."""
