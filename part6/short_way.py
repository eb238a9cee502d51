"""A short way for requests that are as they should be, past what FastAPI does for all the others.

FastAPI matches routes, reads headers, keeps stacks of what to close and looks for telemetry: for
each request several times the work of this model. A body that is valid JSON of the right shape
needs none of it. Whatever is not goes to FastAPI unchanged, which explains it; the routes there
remain the API's description, and both ways end in the same functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Short:
    """The path of a route, and what answers a POST there: None leaves the request to FastAPI."""

    path: str
    answer: Callable[[bytes], bytes | None]


class ShortWay:
    """ASGI middleware: answer with a Short where there is one for the request."""

    def __init__(self, app: ASGIApp, shorts: Mapping[str, Short]) -> None:
        self.app = app
        self.shorts = shorts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on as it came."""
        short = self.shorts.get(scope["path"]) if scope["type"] == "http" else None
        if short is None or scope["method"] != "POST" or not _is_json(scope):
            await self.app(scope, receive, send)
            return
        scope["route"] = short  # for the metrics, which count by path, also what is refused below
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        content = None
        if messages[-1]["type"] == "http.request":  # else the client has gone
            content = short.answer(b"".join(each.get("body", b"") for each in messages))
        if content is None:
            await self.app(scope, _again(messages, receive), send)
            return
        headers = [(b"content-length", b"%d" % len(content)), JSON]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _is_json(scope: Scope) -> bool:
    """Whether the content type, the first if there are several, is JSON and nothing more."""
    return next((header for header in scope["headers"] if header[0] == JSON[0]), None) == JSON


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Give what was received once more, then go on."""
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return again
