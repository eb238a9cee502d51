"""Bounds on one request: nobody fills the memory with a body or keeps us waiting for one."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.core import problems

LINGER_SECONDS = 2.0


class BodyLimit:
    """ASGI middleware: a body over `limit` bytes gets 413, one that takes over `seconds` gets 408.

    A client can leave the length out, so the bytes that come are counted too.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float = 30.0) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it is too large or too slow."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        # Python turns no more than 4,300 digits into a number, and 18 are far too many bytes.
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self.limit):
            await self._refuse(413, scope, receive, send, more_comes=True)
            return
        deadline = asyncio.get_running_loop().time() + self.seconds
        received = 0
        whole = begun = False
        refusal: int | None = None

        async def bounded() -> Message:
            nonlocal received, whole, refusal
            try:
                async with asyncio.timeout_at(None if whole else deadline):
                    message = await receive()
            except TimeoutError:
                refusal = 408
                raise HTTPException(refusal) from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > self.limit:
                refusal = 413
                raise HTTPException(refusal)
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            if refusal is None or begun:  # what the app makes of our exception is not sent
                begun = True
                await send(message)

        # FastAPI hands an HTTPException of `receive` on, and would make any other a 400.
        try:
            await self.app(scope, bounded, watched)
        except HTTPException:  # from a middleware that reads the body itself
            if refusal is None:
                raise
        if refusal is not None and not begun:
            more_comes = refusal == 413 and not whole
            await self._refuse(refusal, scope, receive, send, more_comes=more_comes)

    async def _refuse(
        self, status: int, scope: Scope, receive: Receive, send: Send, *, more_comes: bool
    ) -> None:
        detail = {
            408: f"the body was not complete after {self.seconds:g} s",
            413: f"the body is larger than {self.limit:,} bytes",
        }[status]

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

        answer = problems.response(status, detail, headers={"Connection": "close"})
        await answer(scope, receive, lingering)
