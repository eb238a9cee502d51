"""A start that fails for a known reason says so in one line."""

import sys

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
