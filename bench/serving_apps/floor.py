"""The floor: an ASGI app that reads the body and answers a constant; all else is the web server."""

from starlette.types import Receive, Scope, Send

ANSWER = (
    b'{"iris_class":2,"label":"virginica","scores":[-0.2123047,1.1290816,2.2104125],'
    b'"score_kind":"decision_function","model_version":1}'
)
HEADERS = [
    (b"content-length", str(len(ANSWER)).encode()),
    (b"content-type", b"application/json"),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request with ANSWER."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
