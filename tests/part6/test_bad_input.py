"""What cannot be used is refused with a problem document that names it, and never with a 500."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from part6.limits import BodyLimit
from part6.messages import MAX_ROWS
from tests.part6.conftest import FLOWER, KEY, Client, OpenClient

JSON = {"Content-Type": "application/json"}


def said(**changed: str) -> bytes:
    """The flower as JSON text, with some values written otherwise."""
    values = {name: str(value) for name, value in FLOWER.items()} | changed
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}").encode()


BAD_VALUES = [
    "NaN", "Infinity", "-Infinity", "1e999", "0", "-0.0", "-1", "30.000001", "1e308",
    '"5.1"', '""', "true", "null", "[5.1]", '{"cm": 5.1}',
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_value_that_is_no_length_is_refused_and_its_field_is_named(
    client: Client, path: str, value: str
) -> None:
    body, where = said(sepal_width=value), "body.sepal_width"
    if path == "/predict/batch":
        body, where = b'{"rows": [' + said() + b", " + body + b"]}", "body.rows.1.sepal_width"
    answer = client.post(path, content=body, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [error["where"] for error in problem["errors"]] == [where]
    assert where in problem["detail"]
    assert (problem["status"], problem["title"]) == (422, "Unprocessable Content")


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in FLOWER.items() if key != name}).encode()


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/predict", without("petal_width"), "body.petal_width"),
        ("/predict", said(colour='"blue"'), "body.colour"),
        ("/predict", said(Sepal_Length="5.1"), "body.Sepal_Length"),
        ("/predict", b"[5.1, 3.5, 1.4, 0.2]", "body"),
        ("/predict", b"null", "body"),
        ("/predict", b'"flower"', "body"),
        ("/predict", b"", "body"),
        ("/predict", b"{", "body"),
        ("/predict", said() + b"x", "body"),
        ("/predict/batch", b"{}", "body.rows"),
        ("/predict/batch", b'{"rows": []}', "body.rows"),
        ("/predict/batch", b'{"rows": {}}', "body.rows"),
        ("/predict/batch", b'{"rows": [7]}', "body.rows.0"),
        ("/predict/batch", b'{"rows": [' + said() + b'], "model": 2}', "body.model"),
        ("/predict/batch", b'{"rows": [' + without("sepal_width") + b"]}", "body.rows.0.sepal"),
        ("/predict/batch", said(), "body.rows"),
    ],
)
def test_a_body_of_another_shape_is_refused_and_the_place_is_named(
    client: Client, path: str, body: bytes, where: str
) -> None:
    answer = client.post(path, content=body, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["where"].startswith(where)


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe{", b"[" * 100_000, said(sepal_width="9" * 5000)],
    ids=["no UTF-8", "too deep", "a number of 5000 digits"],
)
def test_what_is_no_json_is_a_bad_request(client: Client, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers=JSON)

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_another_type_is_415(client: Client) -> None:
    answer = client.post("/predict", content=said(), headers={"Content-Type": "text/csv"})

    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_a_batch_may_have_a_thousand_rows_and_not_one_more(client: Client) -> None:
    assert MAX_ROWS == 1000
    full = client.post("/predict/batch", json={"rows": [FLOWER] * MAX_ROWS})
    over = client.post("/predict/batch", json={"rows": [FLOWER] * (MAX_ROWS + 1)})

    assert len(full.json()["predictions"]) == MAX_ROWS
    assert over.status_code == 422
    assert over.json()["errors"][0]["where"] == "body.rows"
    assert "at most 1000 items" in over.json()["errors"][0]["what"]


def test_a_million_rows_are_refused_before_they_are_read(client: Client) -> None:
    """What was announced is not read at all, what was not only until it is too much."""
    passed = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal passed
        while (message := await receive()).get("more_body"):
            passed += len(message["body"])

    row = said()
    body = b'{"rows": [' + b",".join([row] * 1_000_000) + b"]}"
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]

    async def sent() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    for content in (body, sent()):
        answer = client.post("/predict/batch", content=content, headers=JSON)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the body is larger than 1,000,000 bytes"

    async def refused(headers: list[tuple[bytes, bytes]]) -> list[Message]:
        messages = iter({"type": "http.request", "body": p, "more_body": True} for p in pieces)
        said: list[Message] = []

        async def receive() -> Message:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            said.append(message)

        await BodyLimit(app, 1_000_000)({"type": "http", "headers": headers}, receive, send)
        return said

    for headers, most in (([(b"content-length", b"%d" % len(body))], 0), ([], 1_000_000)):
        passed = 0
        (begin, *_) = asyncio.run(refused(headers))
        assert begin["status"] == 413
        assert passed <= most


def test_a_full_batch_of_long_numbers_fits_into_the_limit_of_bytes(client: Client) -> None:
    """Both limits are of one mind: what has at most a thousand rows is not too large."""
    longest = dict.fromkeys(FLOWER, 0.12345678901234567)
    answer = client.post("/predict/batch", json={"rows": [longest] * MAX_ROWS})

    assert answer.status_code == 200


def test_a_batch_full_of_faults_is_answered_with_a_short_document(client: Client) -> None:
    answer = client.post("/predict/batch", json={"rows": [{"x" * 200: 1}] * MAX_ROWS})

    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 10_000


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict/batch", "POST"),
        ("POST", "/model", "GET"),
        ("GET", "/model/reload", "POST"),
        ("PUT", "/health/live", "GET"),
        ("POST", "/metrics", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(
    client: Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_path_that_is_not_there_is_a_problem_document_too(client: Client) -> None:
    answer = client.get("/predictions")

    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", KEY[:-1], "\xff\xfe"])
def test_a_reload_without_the_key_is_refused(client: Client, key: str | None) -> None:
    headers = {} if key is None else {"X-API-Key": key.encode("latin-1")}
    answer = client.post("/model/reload", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "APIKey"
    assert "X-API-Key" in answer.json()["detail"]
    assert KEY not in answer.text


@pytest.mark.parametrize("key", [KEY, "schlüssel"])
def test_a_reload_with_the_key_is_done(open_client: OpenClient, model_dir: Path, key: str) -> None:
    headers = {"X-API-Key": key.encode()}
    answer = open_client(model_dir, model_api_key=key).post("/model/reload", headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {"changed": False, "model_version": 1, "previous_version": 1}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/model", "/health/ready"])
def test_without_a_model_the_answer_is_503_and_says_what_to_do(
    open_client: OpenClient, tmp_path: Path, path: str
) -> None:
    client = open_client(tmp_path / "nothing here")
    body = {"/predict": FLOWER, "/predict/batch": {"rows": [FLOWER]}}.get(path)
    answer = client.post(path, json=body) if body else client.get(path)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert f"there is no model in {tmp_path / 'nothing here'}" in answer.json()["detail"]
    assert "part6.download_model --model-name sk_model" in answer.json()["detail"]
    assert client.get("/health/live").json() == {"status": "alive"}


def test_a_fault_of_the_request_is_named_even_without_a_model(
    open_client: OpenClient, tmp_path: Path
) -> None:
    assert open_client(tmp_path).post("/predict", json={}).status_code == 422


def test_a_bug_is_answered_without_its_traceback(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("part6.predict_routes._measurements", broken)
    answer = client.post("/predict", json=FLOWER)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "a secret" not in answer.text
    assert "Traceback" not in answer.text
