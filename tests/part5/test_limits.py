"""A request has a bound in bytes and in seconds; who exceeds it is told so and harms nobody."""

import asyncio
import http.client
import socket
import time

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from part5 import problems
from part5.limits import BodyLimit
from tests.apis import Api
from tests.part5.conftest import StartApi
from tests.waiting import PATIENCE

ADA = b'{"name": "ada", "nickname": "countess"}'
TEN_MB = 10_000_000


@pytest.fixture
def tiny() -> TestClient:
    """An app that counts what it is sent, and takes 100 bytes."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(BodyLimit, limit=100)

    @app.post("/")
    def count(body: list[int]) -> int:
        return len(body)

    return TestClient(app)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)])
def test_the_limit_is_exact_with_and_without_a_length(
    tiny: TestClient, size: int, status: int, announced: bool
) -> None:
    body = b"[" + b" " * (size - 2) + b"]"
    content = body if announced else iter([body[:40], body[40:]])

    answer = tiny.post("/", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    if status == 413:
        assert answer.json() == {
            "type": "about:blank",
            "title": "Content Too Large",
            "status": 413,
            "detail": "the body is larger than 100 bytes",
        }


# httptools is faster and there where part 6 is; the image of this part has h11 alone.
@pytest.fixture(scope="module", params=["h11", "httptools"])
def api(start_api: StartApi, request: pytest.FixtureRequest) -> Api:
    """A server with either of uvicorn's parsers, which differ in how they end a connection."""
    return start_api("crud_pydantic", f"--http={request.param}")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/users", 413), ("GET", "/health", 413)]
)
def test_ten_megabytes_are_refused_and_the_client_sees_the_answer(
    api: Api, method: str, path: str, status: int, chunked: bool
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
    pieces = [b"x" * 100_000] * (TEN_MB // 100_000)
    body = iter(pieces) if chunked else b"".join(pieces)
    headers = {"Content-Type": "application/json"}

    connection.request(method, path, body, headers, encode_chunked=chunked)
    answer = connection.getresponse()

    # Nobody reads the body of a GET, so nobody counts what comes without a length.
    assert answer.status == (200 if method == "GET" and chunked else status)
    assert b"larger than 1,000,000 bytes" in answer.read() or answer.status == 200
    connection.close()
    assert api.client.get("/health").status_code == 200


def test_a_slow_client_holds_up_nobody_and_is_answered_when_it_is_done(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port)) as slow:
        head = f"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ADA)}\r\n"
        slow.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        begun = time.monotonic()
        for byte in ADA:
            slow.sendall(bytes([byte]))
            assert api.client.get("/health").status_code == 200
        assert time.monotonic() - begun < 20
        assert slow.recv(1000).startswith(b"HTTP/1.1 201 Created")
    made = api.client.get("/users/1").json()
    assert made == {"id": 1, "name": "ada", "nickname": "countess"}


def test_a_client_that_stops_in_the_middle_leaves_nothing(api: Api) -> None:
    before = api.client.post("/users", json={"name": "first", "nickname": "x"}).json()["id"]
    with socket.create_connection(("127.0.0.1", api.port)) as gone:
        gone.sendall(b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n")
        gone.sendall(b"Content-Type: application/json\r\n\r\n" + ADA)
    after = api.client.post("/users", json={"name": "second", "nickname": "x"}).json()["id"]

    assert after == before + 1
    assert "Traceback" not in api.log.read_text()


def test_a_body_that_does_not_come_in_time_is_given_up() -> None:
    app = FastAPI()
    problems.install(app)
    limited = BodyLimit(app, limit=100, seconds=0.1)

    @app.post("/")
    def count(body: list[int]) -> int:
        return len(body)

    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0 if not sent else 60)
        sent.append({})
        return {"type": "http.request", "body": b"[", "more_body": True}

    answer: list[Message] = []

    async def send(message: Message) -> None:
        answer.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(limited(scope, receive, send))

    assert answer[0]["status"] == 408
    assert b"was not complete after 0.1 s" in answer[1]["body"]


ENDLESS = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{"


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\r\n" * 3, ENDLESS],
    ids=["TLS", "half a line", "nothing", "a length of 5000 digits"],
)
def test_what_is_no_http_ends_that_connection_only(api: Api, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", api.port)) as odd:
        odd.sendall(garbage)
        odd.shutdown(socket.SHUT_WR)
        assert not odd.recv(1000).startswith(b"HTTP/1.1 5")
    with httpx2.Client(base_url=api.client.base_url) as other:
        assert other.get("/health").status_code == 200
