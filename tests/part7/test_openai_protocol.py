"""OpenAI's protocol: what its clients send, and the shapes that they expect."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.part7.conftest import StartChat
from tests.part7.servers import Chat, Fake
from tests.waiting import wait_for

WORDS = " a river takes what the rain has left and gives it to the sea a river"
HELLO = {"model": "course-tutor", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
BEARER = {"Authorization": "Bearer mykey"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Where the database makes no difference, the quicker one."""
    return sqlite_url


@pytest.fixture
def openai(chat: Chat) -> Iterator[httpx2.Client]:
    """What such a client sends of headers."""
    with client_of(chat) as client:
        yield client


def client_of(chat: Chat) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{chat.port}", headers=BEARER, timeout=60)


def chunks_of(client: httpx2.Client, **body: Any) -> list[Any]:
    """All events of a stream; the last one is the text [DONE], if it was sent."""
    with client.stream("POST", PATH, json=HELLO | {"stream": True} | body) as answer:
        if answer.status_code != 200:
            answer.read()
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


def text_of(chunks: list[Any]) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if isinstance(c, dict) and c.get("choices")]
    return "".join(delta.get("content", "") for delta in deltas)


class TestWhole:
    def test_it_has_the_protocols_shape(self, openai: httpx2.Client) -> None:
        answer = openai.post(PATH, json=HELLO)

        assert answer.status_code == 200
        body = answer.json()
        assert body.pop("id").startswith("chatcmpl-")
        assert abs(body.pop("created") - time.time()) < 3600
        assert body == {
            "object": "chat.completion",
            "model": "course-tutor",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": WORDS},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 16, "total_tokens": 17},
        }

    def test_the_model_is_asked_as_the_client_asks(self, openai: httpx2.Client, fake: Fake) -> None:
        messages = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one "}]},
            {"role": "assistant", "content": "two"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "thr"}, {"type": "text", "text": "ee"}],
            },
        ]
        wanted = {"model": "m", "temperature": 0, "top_p": 0.5, "seed": 1, "user": "me"}

        openai.post(PATH, json={"messages": messages} | wanted)

        asked = fake.exchanges[-1]
        assert asked.messages == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one "},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ]
        assert asked.parameters == {
            "model": "m",
            "temperature": 0.0,
            "top_p": 0.5,
            "stream_options": {"include_usage": True},
        }

    @pytest.mark.parametrize(
        ("given", "passed_on"), [("END", ["END"]), (["a", "b"], ["a", "b"]), (None, None)]
    )
    def test_stop_is_a_text_or_several(
        self, openai: httpx2.Client, fake: Fake, given: object, passed_on: object
    ) -> None:
        assert openai.post(PATH, json=HELLO | {"stop": given}).status_code == 200
        assert fake.exchanges[-1].parameters.get("stop") == passed_on

    @pytest.mark.parametrize(
        "limits",
        [
            {"max_tokens": 3},
            {"max_completion_tokens": 3},
            {"max_completion_tokens": 3, "max_tokens": 9},
        ],
    )
    def test_a_limit_of_tokens_has_two_names(
        self, openai: httpx2.Client, fake: Fake, limits: dict[str, int]
    ) -> None:
        choice = openai.post(PATH, json=HELLO | limits).json()["choices"][0]

        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"] == " a river takes"
        assert fake.exchanges[-1].parameters["max_tokens"] == 3

    def test_nobody_invents_a_usage(self, openai: httpx2.Client, fake: Fake) -> None:
        fake.does(usage=False)

        assert openai.post(PATH, json=HELLO).json()["usage"] is None


class TestStream:
    def test_it_has_the_protocols_shape(self, openai: httpx2.Client, fake: Fake) -> None:
        fake.does(rate=100)

        *chunks, done = chunks_of(openai)

        assert done == "[DONE]"
        assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
        assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
        assert all(c["choices"][0]["index"] == 0 and "usage" not in c for c in chunks)
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert text_of(chunks) == WORDS
        assert [c["choices"][0]["finish_reason"] for c in chunks[-2:]] == [None, "stop"]
        assert chunks[-1]["choices"][0]["delta"] == {}

    @pytest.mark.parametrize("store", [False, True])
    def test_tokens_are_counted_for_who_asks(self, openai: httpx2.Client, store: bool) -> None:
        *_, usage, done = chunks_of(openai, stream_options={"include_usage": True}, store=store)

        assert usage["choices"] == []
        assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 16, "total_tokens": 17}
        assert done == "[DONE]"

    def test_tokens_come_when_they_come(self, openai: httpx2.Client, fake: Fake) -> None:
        fake.does(hang_after=2)
        with openai.stream("POST", PATH, json=HELLO | {"stream": True}) as answer:
            lines = (line for line in answer.iter_lines() if line)
            seen = ""
            while "river" not in seen:
                seen += next(lines)


class TestStore:
    """`store: true` keeps the exchange as a conversation."""

    MESSAGES = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is drift?"},
        {"role": "assistant", "content": "A change."},
        {"role": "user", "content": "Of what?"},
    )

    @pytest.fixture(params=["sqlite", "postgresql"])
    def database_url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_messages_are_kept_in_order(
        self, chat: Chat, openai: httpx2.Client, stream: bool
    ) -> None:
        body = {"model": "m", "messages": self.MESSAGES, "temperature": 0.5, "max_tokens": 99}

        answer = openai.post(PATH, json=body | {"store": True, "stream": stream})

        assert answer.status_code == 200
        assert WORDS in answer.text or stream
        conversation = int(answer.headers["X-Conversation-ID"])
        kept = chat.get(f"/conversations/{conversation}")
        assert kept["title"] == "What is drift?"
        assert kept["message_count"] == 5
        *said, reply = kept["messages"]
        assert [{"role": m["role"], "content": m["content"]} for m in said] == list(self.MESSAGES)
        assert [m["seq"] for m in kept["messages"]] == [1, 2, 3, 4, 5]
        parents = [None, *(m["id"] for m in said)]
        assert [m["parent_id"] for m in kept["messages"]] == parents
        assert (reply["role"], reply["status"], reply["content"]) == (
            "assistant",
            "complete",
            WORDS,
        )
        assert reply["config"]["model_name"] == "m"
        assert (reply["config"]["temperature"], reply["config"]["max_tokens"]) == (0.5, 99)
        assert reply["usage"]["completion_tokens"] == 16

    def test_the_conversation_goes_on_with_the_other_interface(
        self, chat: Chat, openai: httpx2.Client, fake: Fake
    ) -> None:
        answer = openai.post(PATH, json=HELLO | {"store": True})
        conversation = int(answer.headers["X-Conversation-ID"])

        chat.ask(conversation, "and then?")

        said = [each["content"] for each in fake.exchanges[-1].messages]
        assert said == ["hello", WORDS, "and then?"]

    @pytest.mark.parametrize("content", ["", " \n"])
    @pytest.mark.parametrize("role", ["user", "assistant"])
    def test_a_message_without_a_word_is_kept_without_a_title(
        self, chat: Chat, openai: httpx2.Client, fake: Fake, content: str, role: str
    ) -> None:
        said = {"role": role, "content": content}
        answer = openai.post(PATH, json={"model": "m", "messages": [said], "store": True})
        conversation = int(answer.headers["X-Conversation-ID"])
        kept = chat.get(f"/conversations/{conversation}")
        assert (kept["title"], kept["messages"][0]["content"]) == (None, content)

        again = chat.post(
            f"/conversations/{conversation}/messages/{kept['active_leaf_id']}/regenerate"
        )

        assert again.json()["reply"]["status"] == "complete"
        assert fake.exchanges[-1].messages == [said]

    def test_without_it_nothing_is_kept(self, chat: Chat, openai: httpx2.Client) -> None:
        for body in (HELLO, HELLO | {"store": False}, HELLO | {"stream": True}):
            answer = openai.post(PATH, json=body)
            assert answer.status_code == 200
            assert "X-Conversation-ID" not in answer.headers

        assert chat.get("/conversations")["conversations"] == []

    def test_a_failed_one_is_kept_as_failed(
        self, chat: Chat, openai: httpx2.Client, fake: Fake
    ) -> None:
        fake.does(status=503)

        answer = openai.post(PATH, json=HELLO | {"store": True})

        assert answer.status_code == 503
        [kept] = chat.get("/conversations")["conversations"]
        reply = chat.message(kept["id"], kept["active_leaf_id"])
        assert (reply["status"], reply["error"]["kind"]) == ("failed", "away")

    def test_one_that_is_stopped_ends_in_order(
        self, chat: Chat, openai: httpx2.Client, fake: Fake
    ) -> None:
        fake.does(rate=20, tokens=1000)
        body = HELLO | {"store": True, "stream": True}
        with openai.stream("POST", PATH, json=body) as answer:
            conversation = int(answer.headers["X-Conversation-ID"])
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            next(lines)
            reply = chat.get(f"/conversations/{conversation}")["active_leaf_id"]
            chat.post(f"/conversations/{conversation}/messages/{reply}/stop")
            *_, last, done = list(lines)

        assert json.loads(last[6:])["choices"][0]["finish_reason"] == "stop"
        assert done == "data: [DONE]"


class TestModels:
    def test_they_are_those_of_the_model_server(self, openai: httpx2.Client) -> None:
        listed = openai.get("/v1/models").json()

        assert listed == {
            "object": "list",
            "data": [{"id": "fake-model", "object": "model", "created": 0, "owned_by": ""}],
        }

    def test_without_a_model_server_there_is_an_error(
        self, openai: httpx2.Client, fake: Fake
    ) -> None:
        fake.stop()
        try:
            answer = openai.get("/v1/models")
        finally:
            fake.start()

        assert answer.status_code == 503
        assert fake.url in answer.json()["detail"]


class TestErrors:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic bXlrZXk="},
            {"Authorization": "mykey"},
            {"X-API-Key": "mykey"},
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_who_has_no_key_is_not_let_in(
        self, chat: Chat, fake: Fake, method: str, headers: dict[str, str]
    ) -> None:
        path = PATH if method == "POST" else "/v1/models"
        address = f"http://127.0.0.1:{chat.port}{path}"

        answer = httpx2.request(method, address, json=HELLO, headers=headers)

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert fake.exchanges == []

    @pytest.mark.parametrize(
        ("wrong", "where"),
        [
            ({"n": 2}, "body.n"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "body.tools"),
            ({"messages": []}, "body.messages"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "body.messages.0.role"),
            ({"messages": [{"role": "user"}]}, "body.messages.0.content"),
            ({"messages": [{"role": "user", "content": "a\0b"}]}, "body.messages.0.content"),
            ({"model": " "}, "body.model"),
            ({"temperature": 3}, "body.temperature"),
            ({"max_tokens": 0}, "body.max_tokens"),
            ({"stop": []}, "body.stop"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
                "body.messages.0.content",
            ),
        ],
    )
    def test_what_cannot_be_done_is_refused(
        self, openai: httpx2.Client, fake: Fake, wrong: dict[str, Any], where: str
    ) -> None:
        answer = openai.post(PATH, json=HELLO | wrong)

        assert answer.status_code == 422
        assert any(error["where"].startswith(where) for error in answer.json()["errors"])
        assert fake.exchanges == []

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("script", "status"),
        [({"status": 503}, 503), ({"status": 400}, 502), ({"first_token": 60}, 504)],
    )
    def test_before_the_first_token_it_is_an_http_status(
        self, start_chat: StartChat, fake: Fake, stream: bool, script: Any, status: int
    ) -> None:
        with client_of(start_chat(llm_first_token_seconds=0.2)) as client:
            fake.does(**script)

            answer = client.post(PATH, json=HELLO | {"stream": stream})

        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("store", [False, True])
    def test_after_it_a_stream_ends_with_an_error(
        self, openai: httpx2.Client, fake: Fake, store: bool
    ) -> None:
        fake.does(cut_after=3, rate=20)

        chunks = chunks_of(openai, store=store)

        assert text_of(chunks[:-1]) == " a river takes"
        assert chunks[-1] == {
            "error": {
                "message": f"the connection to {fake.url} broke off",
                "type": "server_error",
                "code": 502,
            }
        }

    def test_a_whole_answer_that_broke_off_is_an_http_status(
        self, openai: httpx2.Client, fake: Fake
    ) -> None:
        fake.does(cut_after=3, rate=20)

        assert openai.post(PATH, json=HELLO).status_code == 502

    def test_places_are_bounded_here_too(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_max_running=1, llm_max_queued=0)
        fake.does(first_token=60)
        with client_of(chat) as client, running_turn(chat, fake):
            answer = client.post(PATH, json=HELLO)

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"


@contextmanager
def running_turn(chat: Chat, fake: Fake) -> Iterator[None]:
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        wait_for(lambda: fake.exchanges)
        yield
        chat.post(f"/conversations/{conversation}/messages/{reply}/stop")


class TestClientThatLeaves:
    """Nobody would read what nobody keeps: the model is stopped."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        "script",
        [{"first_token": 60}, {"rate": 20, "tokens": 10_000}],
        ids=["before the first token", "after it"],
    )
    def test_the_model_servers_side_is_closed(
        self, start_chat: StartChat, fake: Fake, stream: bool, script: dict[str, Any]
    ) -> None:
        chat = start_chat(llm_max_running=1, llm_max_queued=0)
        fake.does(**script)
        body = HELLO | {"stream": stream}
        with client_of(chat) as hasty:
            hasty.timeout = httpx2.Timeout(5, read=0.4)
            if stream and "rate" in script:
                with hasty.stream("POST", PATH, json=body) as answer:
                    next(answer.iter_lines())
            else:
                with pytest.raises(httpx2.ReadTimeout):
                    hasty.post(PATH, json=body)

        fake.wait_until_idle()

        assert fake.exchanges[-1].outcome == "closed by the client"
        fake.does()
        with client_of(chat) as client:
            wait_for(lambda: chat.metric("chat_generations_running") == 0)
            assert client.post(PATH, json=HELLO).status_code == 200  # its place is free again

    def test_what_is_kept_goes_on(self, chat: Chat, fake: Fake) -> None:
        fake.does(rate=40, tokens=40)
        body = HELLO | {"store": True, "stream": True}
        with client_of(chat) as hasty, hasty.stream("POST", PATH, json=body) as answer:
            conversation = int(answer.headers["X-Conversation-ID"])
        reply = chat.get(f"/conversations/{conversation}")["active_leaf_id"]

        assert chat.wait_until_ended(conversation, reply)["status"] == "complete"
        assert fake.exchanges[-1].outcome == "finished"
