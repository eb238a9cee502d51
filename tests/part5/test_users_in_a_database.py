"""`crud_sql`: nothing is lost, whoever writes at the same time and whatever ends."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from part5.user_store import UserStore
from part5.users import UserIn
from tests.apis import Api
from tests.part5.conftest import OpenApi, StartApi

ADA = {"name": "ada", "nickname": "countess"}


@pytest.fixture(scope="module")
def servers(start_api: StartApi, users_url: str) -> list[Api]:
    """Two servers on one database, on SQLite and on PostgreSQL in turn."""
    with ThreadPoolExecutor(2) as at_once:
        return list(
            at_once.map(lambda _: start_api("crud_sql", USERS_DATABASE_URL=users_url), range(2))
        )


def test_two_servers_cannot_both_give_a_name(servers: list[Api]) -> None:
    both = threading.Barrier(8)

    def add(number: int) -> int:
        both.wait()
        return servers[number % 2].client.post("/users", json=ADA).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(add, range(8)))

    assert answers == [201] + [409] * 7
    users = servers[0].client.get("/users").json()["users"]
    assert [user["name"] for user in users].count("ada") == 1


def test_no_write_of_several_at_once_is_lost(servers: list[Api]) -> None:
    """Four clients add their letter to the nickname, each five times, reading it before."""
    made = servers[0].client.post("/users", json={"name": "ring", "nickname": "-"})
    place = made.headers["location"]

    def append(letter: str) -> None:
        client = servers["abcd".index(letter) % 2].client
        written = 0
        while written < 5:
            read = client.get(place)
            changed = {"name": "ring", "nickname": read.json()["nickname"] + letter}
            answer = client.put(place, json=changed, headers={"If-Match": read.headers["etag"]})
            assert answer.status_code in {200, 412}, answer.text
            written += answer.status_code == 200

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, "abcd"))

    end = servers[1].client.get(place)
    assert sorted(end.json()["nickname"]) == sorted("-" + "abcd" * 5)
    assert end.headers["etag"] == '"21"'


def test_what_is_answered_after_sigterm_under_load_is_what_was_done(
    start_api: StartApi, users_url: str
) -> None:
    """No request is carried out without an answer, and the users are there for the next server."""
    api = start_api("crud_sql", USERS_DATABASE_URL=users_url)
    answered: list[str] = []

    def add(worker: int) -> None:
        with httpx2.Client(base_url=api.client.base_url) as client:
            for number in range(10_000):
                user = {"name": f"load {worker} {number}", "nickname": "x"}
                try:
                    answer = client.post("/users", json=user)
                except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                    return  # nobody listens any more; what was not taken was not done
                assert answer.status_code == 201, answer.text
                answered.append(answer.json()["name"])

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(add, worker) for worker in range(4)]
        while len(answered) < 40:
            assert not any(worker.done() for worker in workers)
            time.sleep(0.01)
        api.terminate()
        api.wait()
        for worker in workers:
            worker.result()

    store = UserStore(users_url)
    there = [user.name for user in store.page(0, 100_000) if user.name.startswith("load ")]
    store.close()
    assert len(answered) < 40_000
    assert sorted(there) == sorted(answered)


@pytest.fixture
def store(open_sql: OpenApi, users_url: str) -> Iterator[UserStore]:
    """The users of one database, without those of other tests."""
    store = UserStore(users_url)
    for user in store.page(0, 100_000):
        store.remove(user.id)
    yield store
    store.close()


def test_pages_hold_every_user_once_while_others_come_and_go(store: UserStore) -> None:
    made = [store.add(UserIn(name=f"user {number}", nickname="x")).id for number in range(25)]
    seen: list[int] = []
    after = 0
    while page := store.page(after, 10):
        seen += [user.id for user in page]
        after = page[-1].id
        store.remove(page[0].id)

    assert seen == made


def test_a_number_is_not_used_a_second_time(store: UserStore) -> None:
    first = store.add(UserIn(name="ada", nickname="x"))
    assert store.remove(first.id)

    assert store.add(UserIn(name="ada", nickname="x")).id > first.id


def test_the_next_page_is_an_address(store: UserStore, open_sql: OpenApi, users_url: str) -> None:
    client = open_sql(users_url)
    for number in range(5):
        client.post("/users", json={"name": f"user {number}", "nickname": "x"})
    path: str | None = "/users?limit=2"
    names: list[str] = []
    while path:
        page = client.get(path).json()
        names += [user["name"] for user in page["users"]]
        path = page["next"]

    assert names == [f"user {number}" for number in range(5)]


def test_an_update_must_say_what_it_has_read(
    store: UserStore, open_sql: OpenApi, users_url: str
) -> None:
    client = open_sql(users_url)
    place = client.post("/users", json=ADA).headers["location"]
    lady = ADA | {"nickname": "lady"}

    without = client.put(place, json=lady)
    in_time = client.put(place, json=lady, headers={"If-Match": '"7", "1"'})
    late = client.put(place, json=ADA, headers={"If-Match": '"1"'})

    assert without.status_code == 428
    assert "If-Match" in without.json()["detail"]
    assert (in_time.status_code, in_time.headers["etag"]) == (200, '"2"')
    assert late.status_code == 412
    assert 'changed meanwhile (ETag "2")' in late.json()["detail"]
    assert client.get(place).json()["nickname"] == "lady"
    for no_match in ("null", '""', '"-1"', 'W/"2"', '"2', '"99999999999999999999"'):
        answer = client.put(place, json=ADA, headers={"If-Match": no_match})
        assert answer.status_code == 412, no_match
    assert client.put(place, json=ADA, headers={"If-Match": "*"}).status_code == 200
