"""The archive's APIs and the new ones get the same requests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from part5 import crud_path, crud_pydantic, crud_query, main, multi_param, path_param, query_param
from tests.archive.conftest import Archived, copy_archive


@pytest.fixture
def old(tmp_path: Path) -> Callable[[str], TestClient]:
    """A function that loads an archived app."""
    archived: Archived = copy_archive("part5", tmp_path)
    return lambda name: TestClient(archived.load(f"{name}.py").app, raise_server_exceptions=False)


@pytest.fixture(autouse=True)
def _nobody_is_there() -> None:
    for users in (crud_path.nicknames, crud_query.nicknames, crud_pydantic.users):
        users.clear()


OldApp = Callable[[str], TestClient]


def test_old_and_new_greet(old: OldApp) -> None:
    assert old("main").get("/").status_code == TestClient(main.app).get("/").status_code == 200


@pytest.mark.parametrize(
    ("name", "app", "path"),
    [
        ("path_param", path_param.app, "/users/7"),
        ("path_param", path_param.app, "/users/123456789"),
        ("query_param", query_param.app, "/users"),
        ("query_param", query_param.app, "/users?skip=95&limit=3"),
        ("query_param", query_param.app, "/users?skip=99"),
    ],
)
def test_old_and_new_answer_the_same_to_the_same_parameters(  # type: ignore[no-untyped-def]
    old: OldApp, name: str, app, path: str
) -> None:
    assert old(name).get(path).json() == TestClient(app).get(path).json()


def test_old_and_new_read_path_and_query_alike(old: OldApp) -> None:
    path = "/users/7/items/book?size=3"
    before, now = old("multi_param").get(path).json(), TestClient(multi_param.app).get(path).json()

    assert before == {"user_id": 7, "item_id": "book", "size": 3.0}
    assert now == before | {"note": None}


@pytest.mark.parametrize(
    ("name", "app", "user"),
    [
        ("crud_path", crud_path.app, "/users/name/{name}"),
        ("crud_query", crud_query.app, "/users?name={name}"),
    ],
)
def test_old_and_new_keep_the_same_nicknames(  # type: ignore[no-untyped-def]
    old: OldApp, name: str, app, user: str
) -> None:
    join = "/nickname/" if name == "crud_path" else "&nickname="
    kept = []
    for client in (old(name), TestClient(app)):
        for who, nickname in (("ada", "countess"), ("bob", "builder"), ("eve", "listener")):
            client.post(user.format(name=who) + join + nickname)
        client.put(user.format(name="bob") + join + "bricklayer")
        client.delete(user.format(name="eve"))
        answers = [client.get(user.format(name=who)) for who in ("ada", "bob", "eve")]
        kept.append([answer.json().get("nickname") for answer in answers])

    assert kept[0] == kept[1] == ["countess", "bricklayer", None]


def test_old_and_new_keep_the_same_users_while_nobody_is_removed(old: OldApp) -> None:
    kept = []
    for client in (old("crud_pydantic"), TestClient(crud_pydantic.app)):
        made = [
            client.post("/users", json={"name": name, "nickname": "x"}).json()["id"]
            for name in ("ada", "bob", "eve")
        ]
        client.put(f"/users/{made[1]}", json={"name": "bob", "nickname": "builder"})
        users = [client.get(f"/users/{number}").json() for number in made]
        kept.append([(user["name"], user["nickname"]) for user in users])

    assert kept[0] == kept[1] == [("ada", "x"), ("bob", "builder"), ("eve", "x")]


def test_what_the_lists_say_of_numbers_is_true(old: OldApp) -> None:
    """After a deletion the archive gives somebody's number away; the new API does not."""
    left = []
    for client in (old("crud_pydantic"), TestClient(crud_pydantic.app)):
        made = [
            client.post("/users", json={"name": name, "nickname": "x"}).json()["id"]
            for name in ("ada", "bob", "eve")
        ]
        client.delete(f"/users/{made[0]}")
        client.post("/users", json={"name": "kim", "nickname": "x"})
        left.append(client.get(f"/users/{made[2]}").json()["name"])

    assert left == ["kim", "eve"]


def test_what_the_lists_say_of_statuses_is_true(old: OldApp) -> None:
    before, now = old("crud_path"), TestClient(crud_path.app)
    ada = "/users/name/ada/nickname/"

    assert [before.get("/users/name/x").status_code, now.get("/users/name/x").status_code] == [
        400,
        404,
    ]
    assert [before.post(ada + "one").status_code, now.post(ada + "one").status_code] == [200, 201]
    assert [before.post(ada + "two").status_code, now.post(ada + "two").status_code] == [200, 409]
    assert before.get("/users/name/ada").json()["nickname"] == "two"
    assert now.get("/users/name/ada").json()["nickname"] == "one"


@pytest.mark.parametrize(
    ("name", "app", "method", "path", "before", "now"),
    [
        ("path_param", path_param.app, "GET", "/users/-7", 200, 422),
        ("query_param", query_param.app, "GET", "/users?skip=-1", 200, 422),
        ("query_param", query_param.app, "GET", "/users?limit=1000000000", 200, 422),
        ("multi_param", multi_param.app, "GET", "/users/7/items/book?size=NaN", 500, 422),
        ("multi_param", multi_param.app, "GET", "/users/7/items/book", 422, 200),
        ("crud_query", crud_query.app, "POST", "/users?name=&nickname=x", 200, 422),
        ("main", crud_pydantic.app, "GET", "/health", 404, 200),
    ],
)
def test_what_the_lists_say_of_odd_values_is_true(  # type: ignore[no-untyped-def]
    old: OldApp, name: str, app, method: str, path: str, before: int, now: int
) -> None:
    assert old(name).request(method, path).status_code == before
    assert TestClient(app).request(method, path).status_code == now


@pytest.mark.parametrize(
    "body", ['{"name": "a", "nickname": "x", "z": 1}', '{"name": "\\u0000", "nickname": "x"}']
)
def test_what_the_lists_say_of_bodies_is_true(old: OldApp, body: str) -> None:
    json = {"Content-Type": "application/json"}

    assert old("crud_pydantic").post("/users", content=body, headers=json).status_code == 200
    new = TestClient(crud_pydantic.app).post("/users", content=body, headers=json)
    assert new.status_code == 422
