"""Every request has an id: its own or a new one, returned, logged, carried to the model server."""

import re
import secrets
from contextvars import ContextVar

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


class RequestId:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request, and say the name in its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        # It goes into logs and headers, so it is taken over only if it can do no harm there.
        name = given if re.fullmatch(r"[\w.:-]{1,100}", given, re.ASCII) else secrets.token_hex(8)
        REQUEST_ID.set(name)
        structlog.contextvars.bind_contextvars(request_id=name)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
