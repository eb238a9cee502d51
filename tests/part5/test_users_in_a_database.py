"""`crud_sql`: nothing is lost, whoever writes at the same time and whatever ends."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from part5.user_store import UserStore
from part5.users import UserIn
from tests.part5.conftest import StartApi

ADA = {"name": "ada", "nickname": "countess"}


def test_users_survive_a_restart_and_the_server_ends_in_order(
    start_api: StartApi, users_url: str
) -> None:
    first = start_api("crud_sql", USERS_DATABASE_URL=users_url)
    made = first.client.post("/users", json=ADA)
    assert made.status_code == 201
    assert made.headers["location"] == f"/users/{made.json()['id']}"
    assert first.stop() == 0
    second = start_api("crud_sql", USERS_DATABASE_URL=users_url)
    assert second.client.get(made.headers["location"]).json() == made.json()


def test_two_servers_on_one_database_cannot_both_give_a_name(
    start_api: StartApi, users_url: str
) -> None:
    servers = [start_api("crud_sql", USERS_DATABASE_URL=users_url) for _ in range(2)]
    both = threading.Barrier(8)

    def add(number: int) -> int:
        both.wait()
        return servers[number % 2].client.post("/users", json=ADA).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(add, range(8)))
    assert answers == [201] + [409] * 7
    assert len(servers[0].client.get("/users").json()["users"]) == 1


def test_no_write_of_several_at_once_is_lost(start_api: StartApi, users_url: str) -> None:
    """Four clients add their letter to the nickname, each five times, reading it before."""
    api = start_api("crud_sql", USERS_DATABASE_URL=users_url)
    api.client.post("/users", json={"name": "ada", "nickname": "-"})

    def append(letter: str) -> None:
        written = 0
        while written < 5:
            read = api.client.get("/users/1")
            changed = {"name": "ada", "nickname": read.json()["nickname"] + letter}
            etag = {"If-Match": read.headers["etag"]}
            answer = api.client.put("/users/1", json=changed, headers=etag)
            assert answer.status_code in {200, 412}, answer.text
            written += answer.status_code == 200

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, "abcd"))
    nickname = api.client.get("/users/1").json()["nickname"]
    assert sorted(nickname) == sorted("-" + "abcd" * 5)
    assert api.client.get("/users/1").headers["etag"] == '"21"'


def test_an_update_must_say_what_it_has_read(start_api: StartApi) -> None:
    client = start_api("crud_sql").client
    client.post("/users", json=ADA)
    changed = ADA | {"nickname": "lady"}
    without = client.put("/users/1", json=changed)
    assert without.status_code == 428
    assert "If-Match" in without.json()["detail"]
    assert client.put("/users/1", json=changed, headers={"If-Match": '"1"'}).status_code == 200
    late = client.put("/users/1", json=ADA, headers={"If-Match": '"1"'})
    assert late.status_code == 412
    assert "was changed meanwhile" in late.json()["detail"]
    assert client.get("/users/1").json()["nickname"] == "lady"
    for nonsense in ("null", '""', "*", '"-1"', '"99999999999999999999"'):
        answer = client.put("/users/1", json=ADA, headers={"If-Match": nonsense})
        assert answer.status_code == 412, nonsense


def test_pages_hold_every_user_once_while_others_come_and_go(users_url: str) -> None:
    store = UserStore(users_url)
    for number in range(25):
        store.add(UserIn(name=f"user {number}", nickname="x"))
    seen: list[int] = []
    after = 0
    while page := store.page(after, 10):
        seen += [user.id for user in page]
        after = page[-1].id
        store.remove(page[0].id)
    assert seen == list(range(1, 26))
    store.close()


def test_a_number_is_not_used_a_second_time(users_url: str) -> None:
    store = UserStore(users_url)
    first = store.add(UserIn(name="ada", nickname="x"))
    assert store.remove(first.id)
    assert store.add(UserIn(name="ada", nickname="x")).id > first.id
    store.close()


def test_the_next_page_is_an_address(start_api: StartApi) -> None:
    client = start_api("crud_sql").client
    for number in range(5):
        client.post("/users", json={"name": f"user {number}", "nickname": "x"})
    path: str | None = "/users?limit=2"
    names: list[str] = []
    while path:
        page = client.get(path).json()
        names += [user["name"] for user in page["users"]]
        path = page["next"]
    assert names == [f"user {number}" for number in range(5)]


def test_health_tells_a_database_that_is_gone(start_api: StartApi, users_url: str) -> None:
    if users_url.startswith("sqlite"):
        pytest.skip("a file does not go away")
    broken = users_url.rsplit(":", 1)[0] + ":9/none"
    with pytest.raises(AssertionError, match="refused"):
        start_api("crud_sql", USERS_DATABASE_URL=broken)


def test_a_request_in_hand_is_answered_after_sigterm(start_api: StartApi) -> None:
    api = start_api("crud_sql")
    api.client.get("/health")
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=api.client.base_url) as client:
            while not stop.is_set():
                try:
                    answers.append(client.get("/users").status_code)
                except httpx2.ConnectError:
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    while len(answers) < 20:
        pass
    assert api.stop() == 0
    stop.set()
    asking.join()
    assert set(answers) == {200}
