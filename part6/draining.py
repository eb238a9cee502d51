"""Stop without cutting anybody off: say goodbye on every connection, then close.

On SIGTERM uvicorn closes each connection that is idle, and a request that a client has just sent
on it is lost. So the server goes on answering for a moment, each answer says `Connection: close`,
and the clients come back on new connections, to another server if there is one.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

DRAIN_SECONDS = 0.5


class Drain:
    """Whether the server says goodbye; SIGTERM begins it, and uvicorn's own stop ends it."""

    def __init__(self) -> None:
        self.begun = False

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """Inside this block SIGTERM drains first. Elsewhere than in a main thread it does nothing.

        To be entered in the event loop, after uvicorn has set its own handler.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:
            if not callable(stop) or self.begun:
                return
            self.begun = True
            log.info("draining", seconds=DRAIN_SECONDS)
            loop.call_soon_threadsafe(loop.call_later, DRAIN_SECONDS, stop, number, frame)

        signal.signal(signal.SIGTERM, begin)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)


class SayGoodbye:
    """ASGI middleware: while draining, the answer ends its connection."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; mark its answer if it is one of the last."""

        async def marked(message: Message) -> None:
            # Asked now and not when the request came: it may have begun before SIGTERM.
            if self.drain.begun and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, marked)
