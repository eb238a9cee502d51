"""Configurations of the model: kept under unique names, and gone without harm."""

import threading
from typing import Any

import pytest

from tests.part7.servers import Chat, Fake

API = "/api/v1/llm-configs"
WHOLE = {
    "name": "short answers",
    "model_name": "course-tutor",
    "system_prompt": "Answer in one paragraph. 한국어로.",
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 200,
    "stop": ["END", "\n\n"],
}


def add(chat: Chat, **values: Any) -> Any:
    made = chat.post("/llm-configs", {"name": "n", "model_name": "m"} | values)
    assert made.status_code == 201, made.text
    return made.json()


def test_one_comes_back_as_it_was_made(chat: Chat) -> None:
    made = chat.post("/llm-configs", WHOLE)

    assert made.status_code == 201
    assert made.headers["Location"] == f"{API}/{made.json()['id']}"
    kept = chat.client.get(made.headers["Location"]).json()
    assert kept == made.json()
    assert {name: kept[name] for name in WHOLE} == WHOLE
    assert kept.keys() - WHOLE.keys() == {"id", "created_at", "updated_at"}


def test_what_is_left_out_is_left_to_the_model_server(chat: Chat, fake: Fake) -> None:
    made = add(chat)
    assert made["system_prompt"] == ""
    assert [made[name] for name in ("temperature", "top_p", "max_tokens", "stop")] == [None] * 4

    chat.ask(chat.conversation(llm_config_id=made["id"]))

    assert fake.exchanges[-1].parameters.keys() == {"model", "stream_options"}


def test_what_is_there_is_what_the_model_is_asked_with(chat: Chat, fake: Fake) -> None:
    made = add(chat, **WHOLE)

    reply = chat.ask(chat.conversation(llm_config_id=made["id"]), "hello")["reply"]

    asked = fake.exchanges[-1]
    assert asked.messages[0] == {"role": "system", "content": WHOLE["system_prompt"]}
    assert asked.parameters == {
        "model": "course-tutor",
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 200,
        "stop": ["END", "\n\n"],
    }
    assert reply["config"] == WHOLE | {"llm_config_id": made["id"]}


def test_all_are_listed_in_the_order_of_their_making(chat: Chat) -> None:
    made = [add(chat, name=str(number))["id"] for number in range(5)]
    seen: list[int] = []
    place: str | None = f"{API}?limit=2"

    while place:
        page = chat.client.get(place).json()
        seen += [each["id"] for each in page["llm_configs"]]
        place = page["next"]

    assert seen == made


def test_what_is_left_out_of_a_change_stays(chat: Chat) -> None:
    made = add(chat, **WHOLE)

    changed = chat.client.patch(f"{API}/{made['id']}", json={"temperature": None, "name": "new"})

    assert changed.status_code == 200
    expected = made | {"temperature": None, "name": "new"}
    assert changed.json() | {"updated_at": made["updated_at"]} == expected
    assert changed.json()["updated_at"] > made["updated_at"]
    assert chat.client.get(f"{API}/{made['id']}").json() == changed.json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "  "},
        {"name": "x" * 101},
        {"model_name": ""},
        {"model_name": " "},
        {"system_prompt": "x" * 50_001},
        {"temperature": 2.1},
        {"temperature": -1},
        {"temperature": "NaN"},
        {"top_p": 0},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"stop": []},
        {"stop": [""]},
        {"stop": ["x"] * 5},
        {"id": 7},
        {"colour": "blue"},
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    sqlite_chat: Chat, wrong: dict[str, Any]
) -> None:
    made = add(sqlite_chat)

    changed = sqlite_chat.client.patch(f"{API}/{made['id']}", json=wrong)
    another = sqlite_chat.post("/llm-configs", {"name": "other", "model_name": "m"} | wrong)

    [field] = wrong
    for answer in (changed, another):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["where"].startswith(f"body.{field}")
    assert sqlite_chat.get("/llm-configs")["llm_configs"] == [made]


def test_what_must_be_there_cannot_be_taken_away(sqlite_chat: Chat) -> None:
    made = add(sqlite_chat)

    for field in ("name", "model_name", "system_prompt"):
        answer = sqlite_chat.client.patch(f"{API}/{made['id']}", json={field: None})
        assert answer.status_code == 422
        assert f"{field} cannot be null" in answer.json()["errors"][0]["what"]
    assert sqlite_chat.get("/llm-configs")["llm_configs"] == [made]


@pytest.fixture
def sqlite_chat(request: pytest.FixtureRequest) -> Chat:
    """A chat server where the database makes no difference."""
    chat: Chat = request.getfixturevalue("chat")
    return chat


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Both kinds, or the quicker one where it makes no difference."""
    url: str = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what does not ask for `sqlite_chat` on both databases."""
    if "database_url" in metafunc.fixturenames and "sqlite_chat" not in metafunc.fixturenames:
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def test_a_name_is_taken_once(chat: Chat) -> None:
    first = add(chat, name="taken")
    second = add(chat, name="free")

    again = chat.post("/llm-configs", {"name": " taken ", "model_name": "m"})
    renamed = chat.client.patch(f"{API}/{second['id']}", json={"name": "taken"})

    for answer in (again, renamed):
        assert answer.status_code == 409
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"] == "the name 'taken' is taken"
    assert chat.get("/llm-configs")["llm_configs"] == [first, second]
    same = chat.client.patch(f"{API}/{first['id']}", json={"name": "taken"})
    assert same.status_code == 200  # its own name is not in its way


def test_of_many_who_want_a_name_at_once_one_gets_it(chat: Chat) -> None:
    others = [add(chat, name=f"other {number}")["id"] for number in range(4)]
    statuses: list[int] = []

    def create() -> None:
        statuses.append(chat.post("/llm-configs", {"name": "x", "model_name": "m"}).status_code)

    def rename(config: int) -> None:
        body = {"name": "x"}
        statuses.append(chat.client.patch(f"{API}/{config}", json=body).status_code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    threads += [threading.Thread(target=rename, args=(config,)) for config in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses)[1:] == [409] * 9
    assert min(statuses) in {200, 201}
    names = [each["name"] for each in chat.get("/llm-configs")["llm_configs"]]
    assert names.count("x") == 1


def test_what_is_not_there_is_not_found(chat: Chat) -> None:
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        answer = chat.client.request(method, f"{API}/99", json=body)
        assert answer.status_code == 404
        assert answer.json()["detail"] == "there is no llm config 99"


def test_conversations_go_on_when_theirs_is_deleted(chat: Chat, fake: Fake) -> None:
    config = add(chat, model_name="old", system_prompt="Be brief.")["id"]
    conversation = chat.conversation(llm_config_id=config)
    before = chat.ask(conversation, "one")["reply"]

    gone = chat.client.delete(f"{API}/{config}")

    assert (gone.status_code, gone.content) == (204, b"")
    assert chat.client.get(f"{API}/{config}").status_code == 404
    assert chat.get(f"/conversations/{conversation}")["llm_config_id"] is None
    after = chat.ask(conversation, "two")["reply"]
    assert after["config"]["model_name"] == "course-tutor"
    assert fake.exchanges[-1].messages[0] == {"role": "user", "content": "one"}
    # What the first one was made with is still known.
    assert chat.message(conversation, before["id"])["config"] == before["config"]
    assert before["config"]["system_prompt"] == "Be brief."


def test_a_name_is_free_again_after_its_owner_is_gone(chat: Chat) -> None:
    first = add(chat, name="x")["id"]
    chat.client.delete(f"{API}/{first}")

    assert add(chat, name="x")["name"] == "x"
