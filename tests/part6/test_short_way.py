"""The short way and FastAPI's give the same answers; a charset in the header asks for FastAPI's."""

import json

import httpx2
import pytest

from tests.part6.conftest import FLOWER, Client

HEADERS = ("application/json", "application/json; charset=utf-8")
TEXT = json.dumps(FLOWER)


def ask_both(client: Client, path: str, body: bytes) -> list[httpx2.Response]:
    return [
        client.request("POST", path, content=body, headers={"Content-Type": header})
        for header in HEADERS
    ]


@pytest.mark.parametrize(
    ("path", "body"), [("/predict", TEXT), ("/predict/batch", f'{{"rows": [{TEXT}, {TEXT}]}}')]
)
def test_both_ways_give_the_same_answer(client: Client, path: str, body: str) -> None:
    short, long = ask_both(client, path, body.encode())

    assert short.status_code == long.status_code == 200
    assert short.content == long.content
    assert short.headers == long.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[" * 10_000,
        TEXT.replace("6.3", '"6.3"').encode(),
        TEXT.replace("6.3", "true").encode(),
        TEXT.replace("6.3", "NaN").encode(),
        TEXT.replace("6.3", "1e999").encode(),
        TEXT.replace("6.3", "1" * 400).encode(),
        TEXT.replace("{", '{"colour": 1, ').encode(),
        TEXT.replace("{", '{"sepal_length": 99, ').encode(),
        TEXT.encode("utf-16"),
    ],
)
def test_both_ways_find_the_same_faults(client: Client, body: bytes) -> None:
    short, long = ask_both(client, "/predict", body)

    assert short.status_code == long.status_code
    assert short.content == long.content


def test_both_ways_are_counted_under_the_same_path(client: Client) -> None:
    def counted() -> float:
        lines = client.request("GET", "/metrics").text.splitlines()
        name = 'iris_requests_total{path="/predict",status="200"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = counted()
    ask_both(client, "/predict", TEXT.encode())

    assert counted() == before + 2
