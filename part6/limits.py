"""A bound on what one request may send: nobody fills the memory with a body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from part6 import problems


class BodyLimit:
    """ASGI middleware: a body of more than `limit` bytes is answered with 413.

    A client can leave the length out or lie about it, so the bytes that come are counted too.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it is too large."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.limit:
            await self._refuse(scope, receive, send)
            return
        received = 0
        begun = False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except _TooLargeError:
            if begun:
                raise
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"the body is larger than {self.limit:,} bytes"
        refusal = problems.response(413, detail, headers={"Connection": "close"})
        await refusal(scope, receive, send)


class _TooLargeError(Exception):
    """More came than was announced or allowed."""
