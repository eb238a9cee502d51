"""SIGTERM: who is being answered is answered to the end, and nobody holds up the stop for long."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from part6.app import BODY_SECONDS
from tests.apis import Api
from tests.part6.conftest import FLOWER, StartApi
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow

BODY = json.dumps(FLOWER).encode()
BATCH = json.dumps({"rows": [FLOWER] * 500}).encode()
HEAD = (
    f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
    "Content-Type: application/json\r\n\r\n"
).encode()
JSON = {"Content-Type": "application/json"}


class Caller(threading.Thread):
    """Asks over one kept connection until an answer says goodbye, as a balancer's client does."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.body = port, path, body
        self.statuses: list[int] = []
        self.goodbye = False
        self.failure: Exception | None = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            while not self.goodbye:
                connection.request("POST", self.path, self.body, JSON)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
                self.goodbye = answer.headers.get("Connection") == "close"
                time.sleep(0.002)
        except (OSError, http.client.HTTPException) as exc:
            self.failure = exc
        finally:
            connection.close()


def test_no_request_is_lost_when_the_server_stops_under_load(
    start_api: StartApi, made: dict[str, Path]
) -> None:
    api = start_api(made["onnxruntime"])
    callers = [Caller(api.port, "/predict", BODY) for _ in range(6)]
    callers += [Caller(api.port, "/predict/batch", BATCH) for _ in range(2)]
    for caller in callers:
        caller.start()
    wait_for(lambda: min(len(caller.statuses) for caller in callers) > 5)
    api.terminate()
    for caller in callers:
        caller.join(timeout=PATIENCE)
    api.wait()

    assert [caller.failure for caller in callers] == [None] * len(callers)
    assert all(caller.goodbye for caller in callers)
    assert {status for caller in callers for status in caller.statuses} == {200}


def test_while_it_says_goodbye_it_is_not_ready_but_alive(
    start_api: StartApi, made: dict[str, Path]
) -> None:
    api = start_api(made["onnxruntime"])
    api.terminate()
    while (ready := api.client.get("/health/ready")).is_success:
        pass
    alive = api.client.get("/health/live")
    answered = api.client.post("/predict", json=FLOWER)
    api.wait()

    assert (ready.status_code, ready.json()["detail"]) == (503, "the server is stopping")
    assert (alive.status_code, answered.status_code) == (200, 200)
    assert alive.headers["connection"] == answered.headers["connection"] == "close"


@pytest.fixture(scope="module")
def dawdlers() -> Iterator[list[socket.socket]]:
    """Connections of clients that are in no hurry."""
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        each.close()


def connected(api: Api, dawdlers: list[socket.socket], *sent: bytes) -> socket.socket:
    dawdlers.append(socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE))
    for each in sent:
        dawdlers[-1].sendall(each)
    return dawdlers[-1]


def test_a_client_that_stalls_is_told_408_and_holds_up_the_stop_no_longer_than_that(
    start_api: StartApi, made: dict[str, Path], dawdlers: list[socket.socket]
) -> None:
    api = start_api(made["onnxruntime"])
    begun = time.monotonic()
    half = connected(api, dawdlers, HEAD, BODY[:20])
    connected(api, dawdlers)  # says nothing at all
    connected(api, dawdlers, HEAD[:30])  # stops within the head
    chunked = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    endless = connected(api, dawdlers, chunked, b"5\r\n{   \n\r\n")
    time.sleep(0.3)
    assert api.client.post("/predict", json=FLOWER).status_code == 200
    api.terminate()
    for slow in (half, endless):
        answer = b""
        while received := slow.recv(10_000):
            answer += received
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert answer.lower().count(b"connection: close") == 1
        assert b"application/problem+json" in answer
        assert b"not complete after 10 s" in answer
    api.wait()

    assert BODY_SECONDS - 1 < time.monotonic() - begun < BODY_SECONDS + 5


def test_a_stalled_client_is_answered_408_while_the_server_goes_on(
    start_api: StartApi, made: dict[str, Path], dawdlers: list[socket.socket]
) -> None:
    """And one that trickles is given no more time than one that says nothing."""
    api = start_api(made["onnxruntime"])
    begun = time.monotonic()
    slow = connected(api, dawdlers, HEAD)
    slow.setblocking(False)
    answer = b""
    for byte in BODY[:-1]:
        slow.sendall(bytes([byte]))
        time.sleep(0.2)
        try:
            answer = slow.recv(10_000)
            break
        except BlockingIOError:
            continue
    assert answer.startswith(b"HTTP/1.1 408")
    assert BODY_SECONDS - 1 < time.monotonic() - begun < BODY_SECONDS + 3
    assert api.client.post("/predict", json=FLOWER).status_code == 200


def test_a_client_that_never_reads_its_answers_does_not_hold_up_the_stop(
    start_api: StartApi, made: dict[str, Path], dawdlers: list[socket.socket]
) -> None:
    api = start_api(made["onnxruntime"])
    deaf = socket.socket()
    dawdlers.append(deaf)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", api.port))
    deaf.settimeout(3)
    head = f"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BATCH)}\r\n"
    try:
        for _ in range(2000):
            deaf.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + BATCH)
    except TimeoutError:
        pass  # the server has stopped reading: nothing more can be queued
    else:
        pytest.fail("the server takes without end")
    assert api.client.post("/predict", json=FLOWER).status_code == 200
    begun = time.monotonic()
    api.terminate()
    api.wait()

    assert time.monotonic() - begun < 25
