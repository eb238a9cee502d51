"""The lesson's first apps, one idea each."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from part5 import crud_path, crud_query, main, multi_param, path_param, query_param


def test_hello_greets() -> None:
    answer = TestClient(main.app).get("/")

    assert (answer.status_code, answer.json()) == (200, {"message": "Hello, world"})


@pytest.mark.parametrize(
    ("app", "path", "answer"),
    [
        (path_param.app, "/users/7", {"user_id": 7}),
        (query_param.app, "/users?limit=2", [{"name": "user1"}, {"name": "user2"}]),
        (query_param.app, "/users?skip=98", [{"name": "user99"}, {"name": "user100"}]),
        (query_param.app, "/users?skip=100", []),
        (
            multi_param.app,
            "/users/7/items/book?size=3&note=blue",
            {"user_id": 7, "item_id": "book", "size": 3, "note": "blue"},
        ),
        (
            multi_param.app,
            "/users/7/items/book",
            {"user_id": 7, "item_id": "book", "size": 1, "note": None},
        ),
    ],
)
def test_a_parameter_arrives_with_its_type(app: FastAPI, path: str, answer: object) -> None:
    assert TestClient(app).get(path).json() == answer


@pytest.mark.parametrize(
    ("app", "path", "place"),
    [
        (path_param.app, "/users/seven", ["path", "user_id"]),
        (path_param.app, "/users/0", ["path", "user_id"]),
        (query_param.app, "/users?limit=1000", ["query", "limit"]),
        (multi_param.app, "/users/7/items/book?size=NaN", ["query", "size"]),
    ],
)
def test_a_value_that_does_not_fit_is_named(app: FastAPI, path: str, place: list[str]) -> None:
    answer = TestClient(app).get(path)

    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["detail"]] == [place]


def path_of(name: str, nickname: str = "") -> str:
    return f"/users/name/{name}" + (f"/nickname/{nickname}" if nickname else "")


def query_of(name: str, nickname: str = "") -> str:
    return f"/users?name={name}" + (f"&nickname={nickname}" if nickname else "")


@pytest.mark.parametrize(("module", "to"), [(crud_path, path_of), (crud_query, query_of)])
def test_a_user_is_made_read_changed_and_removed(module, to) -> None:  # type: ignore[no-untyped-def]
    module.nicknames.clear()
    client = TestClient(module.app)

    made = client.post(to("ada%20l", "countess"))
    assert made.status_code == 201
    assert client.get(made.headers["location"]).json() == made.json()
    assert made.json() == {"name": "ada l", "nickname": "countess"}
    assert client.post(to("ada%20l", "other")).status_code == 409
    assert client.get(to("ada%20l")).json()["nickname"] == "countess"
    assert client.put(to("ada%20l", "lady")).json()["nickname"] == "lady"
    assert client.delete(to("ada%20l")).status_code == 204
    for answer in (
        client.get(to("ada%20l")),
        client.put(to("ada%20l", "lady")),
        client.delete(to("ada%20l")),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "there is no user 'ada l'"


def test_a_slash_fits_into_a_query_and_not_into_a_path() -> None:
    crud_path.nicknames.clear()
    crud_query.nicknames.clear()

    in_path = TestClient(crud_path.app).post(path_of("ada", "on%2Foff"))
    in_query = TestClient(crud_query.app).post(query_of("ada", "on%2Foff"))

    assert in_path.status_code == 404
    assert in_query.json()["nickname"] == "on/off"
