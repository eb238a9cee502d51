"""A bound on the body of a request, so that nobody fills the memory with one."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutor import errors

MAX_BODY_BYTES = 1_000_000
LINGER_SECONDS = 2.0


class BodyLimit:
    """ASGI middleware: a body over `limit` bytes gets 413.

    A client can leave the length out, so the bytes that come are counted too.
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it is too large."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        # Python turns no more than 4,300 digits into a number, and 18 are far too many bytes.
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self.limit):
            await self._refuse(scope, receive, send, more_comes=True)
            return
        received = 0
        refused = begun = whole = False

        async def counted() -> Message:
            nonlocal received, refused, whole
            message = await receive()
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > self.limit:
                refused = True
                raise HTTPException(413)  # FastAPI hands it on, and would make any other a 400
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            if not refused or begun:  # what the app makes of our exception is not sent
                begun = True
                await send(message)

        await self.app(scope, counted, watched)
        if refused and not begun:
            await self._refuse(scope, receive, send, more_comes=not whole)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, *, more_comes: bool
    ) -> None:
        async def lingering(message: Message) -> None:
            """Close only when the client has sent everything, or it might not see the answer."""
            if more_comes and message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        while (await receive()).get("more_body", False):
                            pass
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        detail = f"the body is larger than {self.limit:,} bytes; ask something shorter"
        answer = errors.response(413, detail, headers={"Connection": "close"})
        await answer(scope, receive, lingering)
