"""`crud_pydantic` and `crud_sql` answer every request as HTTP says, good or bad."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from part5 import problems

ADA = {"name": "ada", "nickname": "countess"}
JSON = {"Content-Type": "application/json"}


def etag(client: TestClient, path: str) -> dict[str, str]:
    """What an update of `crud_sql` must bring; `crud_pydantic` does not look at it."""
    return {"If-Match": client.get(path).headers.get("etag", "")}


def test_a_user_is_made_read_changed_and_removed(crud: TestClient) -> None:
    made = crud.post("/users", json=ADA)
    place = made.headers["location"]
    assert made.status_code == 201
    assert place == f"/users/{made.json()['id']}"
    assert crud.get(place).json() == made.json() == ADA | {"id": made.json()["id"]}

    changed = crud.put(place, json=ADA | {"nickname": "lady"}, headers=etag(crud, place))
    assert (changed.status_code, changed.json()["nickname"]) == (200, "lady")
    assert crud.get(place).json() == changed.json()

    assert crud.delete(place).status_code == 204
    assert crud.get(place).status_code == crud.delete(place).status_code == 404
    assert crud.put(place, json=ADA, headers={"If-Match": "*"}).status_code == 404


def test_a_name_belongs_to_one_user(crud: TestClient) -> None:
    crud.post("/users", json=ADA)
    bob = crud.post("/users", json={"name": "bob", "nickname": "x"}).headers["location"]

    again = crud.post("/users", json=ADA | {"nickname": "other"})
    renamed = crud.put(bob, json=ADA, headers=etag(crud, bob))

    assert again.status_code == renamed.status_code == 409
    assert again.json()["detail"] == renamed.json()["detail"] == "the name 'ada' is taken"
    assert crud.get(bob).json()["name"] == "bob"


def test_a_number_is_not_used_a_second_time(crud: TestClient) -> None:
    first = crud.post("/users", json=ADA).json()["id"]
    crud.delete(f"/users/{first}")

    assert crud.post("/users", json=ADA).json()["id"] > first


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"name": NaN, "nickname": "x"}', "body.name"),
        ('{"name": Infinity, "nickname": "x"}', "body.name"),
        ('{"name": 7, "nickname": "x"}', "body.name"),
        ('{"name": null, "nickname": "x"}', "body.name"),
        ('{"name": ["ada"], "nickname": "x"}', "body.name"),
        ('{"name": "", "nickname": "x"}', "body.name"),
        ('{"name": "   ", "nickname": "x"}', "body.name"),
        ('{"name": "a\\u0000b", "nickname": "x"}', "body.name"),
        ('{"name": "a\\nb", "nickname": "x"}', "body.name"),
        ('{"name": "\\ud800", "nickname": "x"}', "body.name"),
        (f'{{"name": "{"a" * 51}", "nickname": "x"}}', "body.name"),
        ('{"name": "ada"}', "body.nickname"),
        ('{"name": "ada", "nickname": "x", "admin": true}', "body.admin"),
        ('{"name": "ada", "nickname": "x", "\\ud800": 1}', "body"),
        (f'{{"name": "ada", "nickname": "x", "{"k" * 5000}": 1}}', "body." + "k" * 95),
        ('["ada"]', "body"),
        ('"ada"', "body"),
        ("null", "body"),
        ("", "body"),
        ("{", "body"),
        ("{'name': 'ada'}", "body"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_and_its_fault_is_named(
    crud: TestClient, body: str, place: str
) -> None:
    answer = crud.post("/users", content=body.encode(), headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["errors"][0]["where"] == place
    assert place in problem["detail"]
    assert (problem["type"], problem["title"]) == ("about:blank", "Unprocessable Content")


def test_text_that_is_no_json_is_refused_with_the_place_where_it_stops_being_json(
    crud: TestClient,
) -> None:
    answer = crud.post("/users", content=b"{\"name\": 'ada'}", headers=JSON)

    assert answer.json()["errors"] == [
        {"where": "body", "what": "no JSON at character 9: Expecting value"}
    ]


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe{", b"[" * 100_000, b'{"name": ' + b"9" * 5000 + b', "nickname": "x"}'],
    ids=["no UTF-8", "too deep", "a number of 5000 digits"],
)
def test_what_is_no_json_is_a_bad_request(crud: TestClient, body: bytes) -> None:
    answer = crud.post("/users", content=body, headers=JSON)

    assert answer.status_code == 400, answer.text
    assert answer.json()["title"] == "Bad Request"


@pytest.mark.parametrize("sent", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_body_of_another_type_is_415_and_says_what_to_send(crud: TestClient, sent: str) -> None:
    headers = {"Content-Type": sent} if sent else {}
    answer = crud.post("/users", content=b'{"name": "ada", "nickname": "x"}', headers=headers)

    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]


def test_blanks_around_a_name_do_not_make_another_user(crud: TestClient) -> None:
    assert crud.post("/users", json=ADA | {"name": " ada "}).json()["name"] == "ada"
    assert crud.post("/users", json=ADA).status_code == 409


def test_names_are_of_any_script(crud: TestClient) -> None:
    made = crud.post("/users", json={"name": "에이다 'Ada'; DROP TABLE users", "nickname": "👑"})

    assert made.status_code == 201
    assert crud.get(made.headers["location"]).json() == made.json()


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "NaN", str(2**63), "9" * 5000])
def test_a_number_that_cannot_be_one_is_refused(crud: TestClient, number: str) -> None:
    for answer in (crud.get(f"/users/{number}"), crud.delete(f"/users/{number}")):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["where"] == "path.user_id"


def test_a_wrong_method_is_told_the_right_ones(crud: TestClient) -> None:
    one = crud.request("PATCH", "/users/1")
    many = crud.request("DELETE", "/users")

    assert one.status_code == many.status_code == 405
    assert one.headers["allow"] == "DELETE, GET, PUT"
    assert many.headers["allow"] in {"POST", "GET, POST"}  # pages are in crud_sql alone
    assert one.json()["title"] == "Method Not Allowed"


def test_a_path_that_is_not_there_is_a_problem_too(crud: TestClient) -> None:
    answer = crud.get("/nowhere")

    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert answer.headers["content-type"] == "application/problem+json"


def test_health_says_that_all_is_well(crud: TestClient) -> None:
    assert crud.get("/health").json() == {"status": "ok"}


def test_the_document_shows_an_example_of_everything_and_problems_for_every_error(
    crud: TestClient,
) -> None:
    document = crud.get("/openapi.json").json()
    assert crud.get("/docs").status_code == 200
    for name in ("UserIn", "UserOut"):
        assert document["components"]["schemas"][name]["examples"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"]


def test_a_bug_of_ours_shows_the_client_no_trace() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/")
    def divide() -> float:
        return 1 / 0

    answer = TestClient(app, raise_server_exceptions=False).get("/")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Internal Server Error"
    assert "zero" not in answer.text
