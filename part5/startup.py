"""A start that fails for a known reason says so in one line; one that waits can be stopped."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class StartError(Exception):
    """The app cannot start; the message says what is in the way and what to do."""


class OneLineStart:
    """ASGI middleware: a `StartError` of the lifespan reaches the log without its traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and shorten the message of a start that failed."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def brief(message: Message) -> None:
            # Starlette sends this message while it handles what went wrong, so it is at hand.
            failure = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(failure, StartError):
                message["message"] = str(failure)
            await send(message)

        await self.app(scope, receive, brief)


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets inside this block, before uvicorn's own handling.

    uvicorn looks at these signals only when the start is over, which a wait for a database puts
    off. Elsewhere than in a main thread nothing sets the event.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
