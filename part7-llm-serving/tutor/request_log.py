"""One JSON line per answered request: what it was and how long it took, nothing of its messages."""

import time
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()


def configure_logging() -> None:
    """Write JSON lines to stdout."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ]
    )


class LogRequests:
    """ASGI middleware; a route adds to the line with `request.state.log_line`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and write its line when it is done."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status: int | None = None  # of an answer for which nobody waited
        log_line: dict[str, Any] = {}
        scope.setdefault("state", {})["log_line"] = log_line

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            log.info(
                "answered",
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                milliseconds=round(1000 * (time.perf_counter() - begun), 1),
                request_id=Headers(scope=scope).get("x-request-id", "")[:200] or None,
                **log_line,
            )
