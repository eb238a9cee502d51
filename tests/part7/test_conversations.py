"""Conversations: begun, listed, renamed, exported, removed, and who may do so."""

import json
import re
from datetime import datetime
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from serve.database import Database
from serve.models import Conversation
from sqlalchemy import update
from sqlalchemy.orm import Session

from tests.part7.conftest import StartChat
from tests.part7.servers import Chat, Fake

WORDS = " a river takes what the rain has left and gives it to the sea a river"
API = "/api/v1/conversations"
# Where the database makes no difference, the quicker one.
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def change(chat: Chat, conversation: int, **values: Any) -> httpx2.Response:
    return chat.client.patch(f"{API}/{conversation}", json=values)


def is_problem(answer: httpx2.Response, status: int) -> bool:
    """Whether it is a whole problem document of this status."""
    body = answer.json()
    return (
        answer.status_code == status == body["status"]
        and answer.headers["Content-Type"] == "application/problem+json"
        and {"type", "title", "status", "detail"} <= body.keys() <= {*body, "errors"}
        and body["type"] == "about:blank"
        and bool(body["title"] and body["detail"])
    )


class TestCreate:
    def test_it_is_empty_and_where_it_says(self, chat: Chat) -> None:
        made = chat.post("/conversations", {"title": "  Pipelines ", "session_id": "s-1"})

        assert made.status_code == 201
        body = made.json()
        assert body.pop("created_at") <= body.pop("updated_at")
        assert body == {
            "id": 1,
            "title": "Pipelines",
            "session_id": "s-1",
            "llm_config_id": None,
            "message_count": 0,
            "active_leaf_id": None,
        }
        assert made.headers["Location"] == f"{API}/1"
        assert chat.client.get(made.headers["Location"]).json()["messages"] == []

    def test_moments_have_a_zone(self, chat: Chat) -> None:
        made = chat.post("/conversations").json()

        assert datetime.fromisoformat(made["created_at"]).utcoffset() is not None

    @SQLITE
    @pytest.mark.parametrize(
        ("wrong", "where"),
        [
            ({"title": ""}, "body.title"),
            ({"title": "   "}, "body.title"),
            ({"title": "x" * 201}, "body.title"),
            ({"title": "a\0b"}, "body.title"),
            ({"title": 7}, "body.title"),
            ({"session_id": " "}, "body.session_id"),
            ({"session_id": "x" * 101}, "body.session_id"),
            ({"llm_config_id": 0}, "body.llm_config_id"),
            ({"llm_config_id": 2**63}, "body.llm_config_id"),
            ({"colour": "blue"}, "body.colour"),
            ([], "body"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, chat: Chat, wrong: Any, where: str) -> None:
        answer = chat.client.post(API, json=wrong)

        assert is_problem(answer, 422)
        assert [each["where"] for each in answer.json()["errors"]] == [where]
        assert chat.get("/conversations")["conversations"] == []

    def test_a_configuration_must_be_there(self, chat: Chat) -> None:
        answer = chat.post("/conversations", {"llm_config_id": 99})

        assert is_problem(answer, 422)
        assert answer.json()["detail"] == "there is no llm config 99"

    def test_blanks_around_a_title_do_not_count(self, chat: Chat) -> None:
        made = chat.post("/conversations", {"title": " " * 500 + "x" * 200})

        assert made.json()["title"] == "x" * 200

    def test_a_title_in_any_script_comes_back(self, chat: Chat) -> None:
        for title in ("한국어 대화", "🦜 'quoted' \"twice\"", "it's 100% \\ _"):
            assert chat.post("/conversations", {"title": title}).json()["title"] == title


class TestPages:
    def test_all_are_listed_once_the_last_one_first(self, chat: Chat) -> None:
        made = [chat.conversation() for _ in range(7)]
        seen: list[int] = []
        sizes: list[int] = []
        place: str | None = f"{API}?limit=3"

        while place:
            page = chat.client.get(place).json()
            seen += [each["id"] for each in page["conversations"]]
            sizes.append(len(page["conversations"]))
            place = page["next"]

        assert seen == made[::-1]
        assert sizes == [3, 3, 1]

    def test_a_last_page_that_is_full_has_no_next(self, chat: Chat) -> None:
        for _ in range(4):
            chat.conversation()

        first = chat.client.get(f"{API}?limit=2").json()
        assert chat.client.get(first["next"]).json()["next"] is None
        assert chat.client.get(f"{API}?before=0-1").json() == {"conversations": [], "next": None}

    def test_pages_do_not_move_when_something_is_added_or_removed(self, chat: Chat) -> None:
        one, two, three, _ = (chat.conversation() for _ in range(4))
        page = chat.client.get(f"{API}?limit=2").json()
        chat.conversation()
        chat.client.delete(f"{API}/{three}")

        rest = chat.client.get(page["next"]).json()

        assert [each["id"] for each in rest["conversations"]] == [two, one]

    def test_one_that_is_used_again_comes_first(self, chat: Chat) -> None:
        one, two, three = (chat.conversation() for _ in range(3))
        chat.ask(one)
        chat.post(f"/conversations/{three}/messages", {"content": "hello"})
        change(chat, two, title="Mine")

        listed = chat.get("/conversations")["conversations"]

        assert [each["id"] for each in listed] == [two, three, one]

    def test_nothing_comes_twice_when_one_is_used_between_two_pages(self, chat: Chat) -> None:
        one, two, three, four, five = (chat.conversation() for _ in range(5))
        page = chat.get("/conversations", limit=2)
        chat.ask(two)  # not seen yet: it is at the top now
        chat.ask(five)  # seen already

        rest = chat.client.get(page["next"]).json()

        assert [each["id"] for each in page["conversations"]] == [five, four]
        assert [each["id"] for each in rest["conversations"]] == [three, one]
        top = chat.get("/conversations", limit=2)["conversations"]
        assert [each["id"] for each in top] == [five, two]

    def test_those_of_the_same_moment_have_an_order(self, chat: Chat, database_url: str) -> None:
        made = [chat.conversation() for _ in range(5)]
        moment = chat.get(f"/conversations/{made[2]}")["updated_at"]
        database = Database(database_url)
        with Session(database.engine) as session, session.begin():
            session.execute(update(Conversation).values(updated_at=datetime.fromisoformat(moment)))
        database.close()
        seen = []
        place: str | None = f"{API}?limit=2"

        while place:
            page = chat.client.get(place).json()
            seen += [each["id"] for each in page["conversations"]]
            place = page["next"]

        assert seen == made[::-1]

    def test_a_session_sees_its_own(self, chat: Chat) -> None:
        own = "a b&c=d/한"
        mine = [chat.conversation(session_id=own) for _ in range(3)]
        chat.conversation(session_id="other")
        chat.conversation()

        page = chat.get("/conversations", session_id=own, limit=2)
        rest = chat.client.get(page["next"]).json()

        found = page["conversations"] + rest["conversations"]
        assert [each["id"] for each in found] == mine[::-1]
        assert chat.get("/conversations", session_id="nobody")["conversations"] == []

    @SQLITE
    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=101",
            "before=7",
            "before=x",
            "before=-1-1",
            f"before={10**17}-1",
            f"before=1-{10**16}",
            "before=%D9%A1-1",
            "q=%00",
        ],
    )
    def test_a_query_that_makes_no_sense_is_refused(self, chat: Chat, query: str) -> None:
        answer = chat.client.get(f"{API}?{query}")

        assert is_problem(answer, 422)
        assert answer.json()["errors"][0]["where"] == f"query.{query.partition('=')[0]}"


class TestTitle:
    def test_it_is_the_first_message_if_nobody_gave_one(self, chat: Chat) -> None:
        conversation = chat.conversation()
        chat.ask(conversation, "  What is\n\n drift? ")
        chat.ask(conversation, "And a champion?")

        assert chat.get(f"/conversations/{conversation}")["title"] == "What is drift?"

    def test_a_first_message_without_a_word_leaves_it_to_the_next_one(self, chat: Chat) -> None:
        conversation = chat.conversation()
        chat.ask(conversation, "\x1c")  # a blank to Python, and a character to the schema
        assert chat.get(f"/conversations/{conversation}")["title"] is None

        chat.ask(conversation, "What is drift?")

        assert chat.get(f"/conversations/{conversation}")["title"] == "What is drift?"

    def test_one_that_somebody_gave_stays(self, chat: Chat) -> None:
        conversation = chat.conversation(title="Mine")
        chat.ask(conversation)

        assert chat.get(f"/conversations/{conversation}")["title"] == "Mine"

    def test_a_long_message_is_shortened(self, chat: Chat) -> None:
        conversation = chat.conversation()
        chat.ask(conversation, "긴 질문 " * 40)

        title = chat.get(f"/conversations/{conversation}")["title"]

        assert len(title) <= 60
        assert title.startswith("긴 질문 긴 질문")
        assert title.endswith("…")


class TestChange:
    def test_what_is_left_out_stays(self, chat: Chat) -> None:
        conversation = chat.conversation(title="Old", session_id="s")
        before = chat.get(f"/conversations/{conversation}")

        after = change(chat, conversation, title="New").json()

        assert after["title"] == "New"
        assert after["session_id"] == "s"
        assert after["created_at"] == before["created_at"]
        assert after["updated_at"] > before["updated_at"]
        assert chat.get(f"/conversations/{conversation}")["title"] == "New"

    def test_the_configuration_is_changed_and_taken_away(self, chat: Chat, fake: Fake) -> None:
        config = chat.post("/llm-configs", {"name": "n", "model_name": "other"}).json()["id"]
        conversation = chat.conversation()
        models = []
        for each in (config, None):
            assert change(chat, conversation, llm_config_id=each).json()["llm_config_id"] == each
            chat.ask(conversation)
            models.append(fake.exchanges[-1].parameters["model"])

        assert models == ["other", "course-tutor"]

    @SQLITE
    @pytest.mark.parametrize(
        "wrong",
        [
            {"title": None},
            {"title": " "},
            {"active_leaf_id": None},
            {"active_leaf_id": 99},
            {"llm_config_id": 99},
            {"session_id": "x"},
            {"message_count": 7},
        ],
    )
    def test_what_cannot_be_used_changes_nothing(self, chat: Chat, wrong: dict[str, Any]) -> None:
        conversation = chat.conversation(title="Old")
        before = chat.get(f"/conversations/{conversation}")

        assert is_problem(change(chat, conversation, **wrong), 422)

        assert chat.get(f"/conversations/{conversation}") == before

    def test_a_leaf_must_be_in_the_conversation(self, chat: Chat) -> None:
        foreign = chat.ask(chat.conversation())["reply"]["id"]
        conversation = chat.conversation()

        answer = change(chat, conversation, active_leaf_id=foreign)

        assert is_problem(answer, 422)
        assert answer.json()["detail"] == f"there is no message {foreign} in it"


class TestDelete:
    def test_it_is_gone_with_its_messages(self, chat: Chat) -> None:
        conversation = chat.conversation()
        reply = chat.ask(conversation)["reply"]["id"]
        stays = chat.conversation()
        chat.ask(stays)

        gone = chat.client.delete(f"{API}/{conversation}")

        assert (gone.status_code, gone.content) == (204, b"")
        for path in ("", "/export", f"/messages/{reply}", f"/messages/{reply}/stream"):
            assert is_problem(chat.client.get(f"{API}/{conversation}{path}"), 404)
        assert [each["id"] for each in chat.get("/conversations")["conversations"]] == [stays]
        assert chat.get(f"/conversations/{stays}")["message_count"] == 2

    def test_its_number_is_not_used_again(self, chat: Chat) -> None:
        conversation = chat.conversation()
        message = chat.ask(conversation)["message"]["id"]
        chat.client.delete(f"{API}/{conversation}")

        again = chat.conversation()

        assert again > conversation
        assert chat.ask(again)["message"]["id"] > message + 1


def test_what_is_not_there_is_not_found(chat: Chat) -> None:
    other = chat.conversation()
    reply = chat.ask(chat.conversation())["reply"]["id"]
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"{API}/99", None),
        ("PATCH", f"{API}/99", {"title": "x"}),
        ("DELETE", f"{API}/99", None),
        ("GET", f"{API}/99/export", None),
        ("POST", f"{API}/99/messages", {"content": "hello"}),
        ("POST", f"{API}/99/messages/{reply}/regenerate", {}),
        # A message is found only in its own conversation.
        ("GET", f"{API}/{other}/messages/{reply}", None),
        ("GET", f"{API}/{other}/messages/{reply}/stream", None),
        ("POST", f"{API}/{other}/messages/{reply}/stop", {}),
        ("POST", f"{API}/{other}/messages/{reply}/regenerate", {}),
        ("POST", f"{API}/{other}/messages/{reply}/edit", {"content": "x"}),
        ("PUT", f"{API}/{other}/messages/{reply}/feedback", {"thumb": "up"}),
        ("GET", "/api/v1/nothing", None),
    ]

    for method, path, body in requests:
        answer = chat.client.request(method, path, json=body)
        assert is_problem(answer, 404), (method, path, answer.text)
    assert chat.get(f"/conversations/{other}")["message_count"] == 0


@SQLITE
def test_a_method_that_a_path_does_not_have_is_named(chat: Chat) -> None:
    answer = chat.client.put(f"{API}/1", json={})

    assert is_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"DELETE", "GET", "PATCH"}


@SQLITE
def test_a_place_in_a_stream_that_is_no_number_is_the_beginning(chat: Chat) -> None:
    conversation = chat.conversation()
    reply = chat.ask(conversation)["reply"]["id"]

    for place in ("x", "-1", "9" * 5000):
        path = f"{API}/{conversation}/messages/{reply}/stream"
        answer = chat.client.get(path, headers={"Last-Event-ID": place})
        assert answer.status_code == 200
        assert "event: done" in answer.text


class TestExport:
    def branched(self, chat: Chat) -> tuple[int, Any]:
        conversation = chat.conversation(title="Rivers")
        turn = chat.ask(conversation, "# one\n\n*two*")
        chat.post(f"/conversations/{conversation}/messages/{turn['reply']['id']}/regenerate")
        return conversation, turn

    def test_json_has_every_branch(self, chat: Chat) -> None:
        conversation, turn = self.branched(chat)

        answer = chat.client.get(f"{API}/{conversation}/export")

        assert answer.headers["Content-Type"] == "application/json"
        name = f'attachment; filename="conversation-{conversation}.json"'
        assert answer.headers["Content-Disposition"] == name
        assert answer.json() == chat.get(f"/conversations/{conversation}", show="tree")
        assert len(answer.json()["messages"]) == 3
        assert turn["reply"] in answer.json()["messages"]
        assert json.dumps(answer.json()["title"]) in answer.text

    def test_markdown_is_the_path_for_people(self, chat: Chat) -> None:
        conversation, _ = self.branched(chat)

        answer = chat.client.get(f"{API}/{conversation}/export?form=markdown")

        assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        name = f'attachment; filename="conversation-{conversation}.md"'
        assert answer.headers["Content-Disposition"] == name
        when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        expected = (
            rf"# Rivers\n\n## You, {when}\n\n# one\n\n\*two\*\n\n## Assistant, {when}\n\n{WORDS}\n"
        )
        assert re.fullmatch(expected, answer.text)

    def test_markdown_tells_how_a_reply_ended(self, chat: Chat, fake: Fake) -> None:
        fake.does(status=400)
        conversation = chat.conversation()
        chat.post(f"/conversations/{conversation}/messages", {"content": "강은 어디로 가나요?"})

        text = chat.client.get(f"{API}/{conversation}/export?form=markdown").text

        assert text.startswith("# 강은 어디로 가나요?\n")
        assert "## Assistant (failed), " in text

    def test_an_empty_conversation_has_a_heading(self, chat: Chat) -> None:
        conversation = chat.conversation()

        text = chat.client.get(f"{API}/{conversation}/export?form=markdown").text

        assert text == f"# Conversation {conversation}\n"

    def test_another_form_is_refused(self, chat: Chat) -> None:
        conversation = chat.conversation()

        assert is_problem(chat.client.get(f"{API}/{conversation}/export?form=pdf"), 422)


class TestKeys:
    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    def status(self, chat: Chat, *values: str) -> int:
        """What a request with these values of X-API-Key gets."""
        address = f"http://127.0.0.1:{chat.port}{API}"
        headers = [(b"X-API-Key", value.encode()) for value in values]
        answer = httpx2.get(address, headers=headers)
        if answer.status_code == 401:
            assert is_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "APIKey"
        return answer.status_code

    def test_one_is_needed(self, chat: Chat) -> None:
        assert self.status(chat) == 401
        for wrong in ("", "wrong", "MYKEY", "mykey,", "열쇠", "mykey" * 1000):
            assert self.status(chat, wrong) == 401
        assert self.status(chat, "mykey") == 200

    def test_every_route_of_the_interface_needs_one(self, chat: Chat) -> None:
        paths = chat.client.get("/openapi.json").json()["paths"]
        protected = [
            (method, path)
            for path, operations in paths.items()
            for method in operations
            if path.startswith(("/api/", "/v1/"))
        ]
        assert len(protected) >= 20

        for method, path in protected:
            address = f"http://127.0.0.1:{chat.port}{re.sub('{[^}]*}', '1', path)}"
            assert httpx2.request(method.upper(), address).status_code == 401, path

    def test_several_are_let_in(self, start_chat: StartChat) -> None:
        chat = start_chat(chat_api_keys="one, two ,")

        keys = ("one", "two", "mykey", "one, two")
        assert [self.status(chat, key) for key in keys] == [200, 200, 401, 401]

    def test_a_hash_is_as_good_as_the_key_and_is_none_itself(self, start_chat: StartChat) -> None:
        hashed = f"sha256:{sha256(b'secret').hexdigest()}"
        chat = start_chat(chat_api_keys=f"plain,{hashed}")

        assert [self.status(chat, key) for key in ("secret", "plain", hashed)] == [200, 200, 401]

    def test_a_hash_is_of_the_bytes_that_a_client_sends(self, start_chat: StartChat) -> None:
        chat = start_chat(chat_api_keys=f"sha256:{sha256('열쇠'.encode()).hexdigest()}")

        assert [self.status(chat, key) for key in ("열쇠", "자물쇠")] == [200, 401]


class TestBodies:
    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    def test_one_that_is_too_large_is_refused(self, start_chat: StartChat) -> None:
        chat = start_chat(max_body_bytes=1000)
        conversation = chat.conversation()
        path = f"{API}/{conversation}/messages"
        body = json.dumps({"content": "x" * 2000}).encode()
        json_type = {"Content-Type": "application/json"}

        announced = chat.client.post(path, content=body, headers=json_type)
        # Without a Content-Length the bytes are counted when they come.
        counted = chat.client.post(path, content=iter([body]), headers=json_type)

        for answer in (announced, counted):
            assert is_problem(answer, 413)
            assert answer.json()["detail"] == "the body is larger than 1,000 bytes"
        assert chat.get(f"/conversations/{conversation}")["message_count"] == 0
        assert chat.ask(conversation, "x" * 900)["reply"]["status"] == "complete"

    @pytest.mark.parametrize(
        ("body", "content_type", "status", "says"),
        [
            (b'{"title": "x"', "application/json", 422, "no JSON at character"),
            (b"{}", "text/plain", 415, "Content-Type: application/json"),
            (b'"\xff"', "application/json", 400, "parsing the body"),
            (b"", "application/json", 422, "body"),
            (b"[" * 100_000, "application/json", 400, "parsing the body"),
        ],
    )
    def test_one_that_is_no_json_is_refused(
        self, chat: Chat, body: bytes, content_type: str, status: int, says: str
    ) -> None:
        answer = chat.client.post(API, content=body, headers={"Content-Type": content_type})

        assert is_problem(answer, status), answer.text
        assert says in answer.text

    @pytest.mark.parametrize("content", ["", " \n\t\u3000", "x" * 200_001, "a\0b", None, 7])
    def test_a_message_that_cannot_be_used_is_refused(self, chat: Chat, content: object) -> None:
        conversation = chat.conversation()

        answer = chat.client.post(f"{API}/{conversation}/messages", json={"content": content})

        assert is_problem(answer, 422)
        assert answer.json()["errors"][0]["where"] == "body.content"
        assert chat.get(f"/conversations/{conversation}")["message_count"] == 0

    def test_half_a_surrogate_pair_is_refused(self, chat: Chat) -> None:
        body = rb'{"title": "\ud800"}'

        answer = chat.client.post(API, content=body, headers={"Content-Type": "application/json"})

        assert is_problem(answer, 422)
