"""The context budget: what of a conversation is said to a model with a small window."""

from typing import Any

import httpx2
import pytest

from tests.part7.conftest import StartChat
from tests.part7.servers import Chat, Fake

WINDOW = 256
ROOM = 156  # what is left of it beside a reply of 100 tokens
EACH = 6  # tokens around a message


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The database makes no difference here."""
    return sqlite_url


@pytest.fixture
def chat(start_chat: StartChat) -> Chat:
    return start_chat(llm_context_tokens=WINDOW)


def begin(chat: Chat, **values: Any) -> int:
    """A conversation whose replies have up to 100 tokens."""
    config = {"name": "n", "model_name": "m", "max_tokens": 100} | values
    made = chat.post("/llm-configs", config)
    return chat.conversation(llm_config_id=made.json()["id"])


def words(count: int, word: str = "word") -> str:
    """A text of so many tokens, as the fake's tokenizer counts."""
    return " ".join([word] * count)


def test_all_is_said_while_there_is_room(chat: Chat, fake: Fake) -> None:
    conversation = begin(chat)

    context = chat.ask(conversation, "hello")["reply"]["context"]

    assert context == {
        "tokens": 2 + EACH,  # five letters, about
        "messages": 1,
        "left_out": 0,
        "counted_by": "estimate",
    }


def test_the_oldest_turns_go_first_and_the_reply_says_how_many(chat: Chat, fake: Fake) -> None:
    fake.does(tokens=4)
    conversation = begin(chat, system_prompt="Be brief.")
    contexts = [
        chat.ask(conversation, words(30, f"q{number}"))["reply"]["context"] for number in range(6)
    ]

    said = fake.exchanges[-1].messages
    assert said[0] == {"role": "system", "content": "Be brief."}
    # (2 + 6) + 3 * (30 + 6) + 2 * (4 + 6) = 136, and one more turn would be 46 too many.
    assert [each["content"][:2] for each in said[1:]] == ["q3", " a", "q4", " a", "q5"]
    assert contexts[0]["left_out"] == 0
    assert contexts[-1] == {
        "tokens": 136,
        "messages": 6,
        "left_out": 6,
        "counted_by": "tokenizer",
    }
    assert contexts[-1]["tokens"] <= ROOM
    # In the database nothing is left out.
    assert chat.get(f"/conversations/{conversation}")["message_count"] == 12


def test_no_conversation_begins_with_an_answer(chat: Chat, fake: Fake) -> None:
    fake.does(tokens=16)
    conversation = begin(chat)
    chat.ask(conversation, words(100))

    context = chat.ask(conversation, words(90))["reply"]["context"]

    # The answer of 16 tokens would have fitted, its question does not.
    assert [each["role"] for each in fake.exchanges[-1].messages] == ["user"]
    assert (context["tokens"], context["left_out"]) == (90 + EACH, 2)


def test_a_question_that_just_fits_is_asked_without_what_came_before(
    chat: Chat, fake: Fake
) -> None:
    conversation = begin(chat)
    chat.ask(conversation, "before")

    context = chat.ask(conversation, words(ROOM - EACH))["reply"]["context"]

    assert [each["content"] for each in fake.exchanges[-1].messages] == [words(ROOM - EACH)]
    assert (context["tokens"], context["left_out"]) == (ROOM, 2)


def test_without_a_tokenizer_it_is_estimated(chat: Chat, fake: Fake) -> None:
    fake.does(tokenizer=False, tokens=4)
    conversation = begin(chat)
    chat.ask(conversation, words(60))

    context = chat.ask(conversation, words(80))["reply"]["context"]

    assert context["counted_by"] == "estimate"
    assert context["left_out"] == 2
    assert context["tokens"] == -(-len(words(80)) // 4) + EACH


def test_a_window_counts_for_korean_too(chat: Chat, fake: Fake) -> None:
    fake.does(tokenizer=False, tokens=4)
    conversation = begin(chat)

    context = chat.ask(conversation, "강물은 바다로 " * 15)["reply"]["context"]

    assert context["tokens"] == len(("강물은 바다로 " * 15).encode()) // 3 + EACH


class TestQuestionThatDoesNotFit:
    """It is refused, and nothing of it is written."""

    @pytest.fixture(params=["sqlite", "postgresql"])
    def database_url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_message_is_refused_and_the_conversation_goes_on(
        self, chat: Chat, fake: Fake, stream: bool
    ) -> None:
        conversation = begin(chat, system_prompt=words(10))
        before = chat.get(f"/conversations/{conversation}")
        body = {"content": words(ROOM - EACH), "stream": stream}

        refused = chat.post(f"/conversations/{conversation}/messages", body)

        assert refused.status_code == 422
        assert refused.headers["Content-Type"] == "application/problem+json"
        detail = refused.json()["detail"]
        assert detail.startswith("the message has about 156 tokens, and there is room for 140: ")
        assert "the model's window has 256" in detail
        assert fake.exchanges == []
        assert chat.get(f"/conversations/{conversation}", show="tree") == before
        assert chat.metric("chat_generations_queued") == 0
        assert chat.ask(conversation, "short")["reply"]["context"]["left_out"] == 0
        assert [each["content"] for each in fake.exchanges[-1].messages] == [words(10), "short"]

    def test_its_key_can_be_used_for_a_shorter_one(self, chat: Chat) -> None:
        path = f"/conversations/{begin(chat)}/messages"
        answers = [
            chat.post(path, {"content": words(count)}, **{"Idempotency-Key": "k"})
            for count in (ROOM, ROOM - EACH, ROOM - EACH)
        ]

        assert [each.status_code for each in answers] == [422, 201, 200]
        assert answers[2].json() == answers[1].json()

    def test_an_edit_leaves_the_branch_as_it_is(self, chat: Chat, fake: Fake) -> None:
        conversation = begin(chat)
        message = chat.ask(conversation)["message"]["id"]
        before = chat.get(f"/conversations/{conversation}", show="tree")
        path = f"/conversations/{conversation}/messages/{message}/edit"

        refused = chat.post(path, {"content": words(ROOM)})

        assert refused.status_code == 422
        assert "room for 156" in refused.json()["detail"]
        assert chat.get(f"/conversations/{conversation}", show="tree") == before
        assert len(fake.exchanges) == 1

    def test_another_reply_is_refused_when_the_question_fits_no_more(self, chat: Chat) -> None:
        conversation = begin(chat)
        reply = chat.ask(conversation, words(100))["reply"]["id"]
        config = chat.get(f"/conversations/{conversation}")["llm_config_id"]
        chat.client.patch(f"/api/v1/llm-configs/{config}", json={"max_tokens": 200})
        before = chat.get(f"/conversations/{conversation}", show="tree")

        refused = chat.post(f"/conversations/{conversation}/messages/{reply}/regenerate")

        assert refused.status_code == 422
        assert "about 106 tokens, and there is room for 56: " in refused.json()["detail"]
        assert chat.get(f"/conversations/{conversation}", show="tree") == before

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_exchange_is_not_kept(self, chat: Chat, fake: Fake, stream: bool) -> None:
        messages = [("system", words(100)), ("user", words(60))]

        refused = complete(chat, messages, store=True, stream=stream)

        assert refused.status_code == 422
        assert "about 66 tokens, and there is room for 50: " in refused.json()["detail"]
        assert chat.get("/conversations")["conversations"] == []
        assert fake.exchanges == []

    def test_without_a_tokenizer_the_estimate_decides(self, chat: Chat, fake: Fake) -> None:
        fake.does(tokenizer=False)
        conversation = begin(chat)

        refused = chat.post(f"/conversations/{conversation}/messages", {"content": words(200)})

        assert refused.status_code == 422
        assert chat.get(f"/conversations/{conversation}")["message_count"] == 0

    def test_a_tokenizer_that_counts_more_than_was_estimated_has_the_last_word(
        self, start_chat: StartChat, fake: Fake
    ) -> None:
        chat = start_chat(llm_context_tokens=WINDOW, llm_max_running=1)
        fake.does(tokenizer=False, first_token=60)
        first = begin(chat)
        second = chat.conversation(llm_config_id=chat.get("/llm-configs")["llm_configs"][0]["id"])
        with chat.streaming(first) as running, chat.streaming(second, words(200, "a")) as waiting:
            reply = next(running).data["reply_id"]
            next(waiting)
            fake.does()
            chat.post(f"/conversations/{first}/messages/{reply}/stop")
            error, done = list(waiting)

        assert (error.name, error.data["status"]) == ("error", 422)
        assert "about 206 tokens, and there is room for 156: " in error.data["detail"]
        assert done.data["status"] == "failed"


def complete(chat: Chat, said: list[tuple[str, str]], **values: Any) -> httpx2.Response:
    """An exchange of OpenAI's protocol, whose reply has up to 100 tokens."""
    messages = [{"role": role, "content": content} for role, content in said]
    body = {"model": "m", "max_tokens": 100, "messages": messages} | values
    return chat.client.post(
        "/v1/chat/completions", json=body, headers={"Authorization": "Bearer mykey"}
    )


def test_what_nobody_keeps_is_for_the_model_server_to_judge(chat: Chat, fake: Fake) -> None:
    answer = complete(chat, [("system", words(10)), ("user", words(500))])

    assert answer.status_code == 200
    assert fake.exchanges[-1].messages[-1]["content"] == words(500)


def test_the_system_messages_that_a_kept_exchange_begins_with_stay(chat: Chat, fake: Fake) -> None:
    fake.does(tokens=4)
    rules = [("system", words(10, "rule")), ("developer", words(10, "more"))]
    spoken = [("user", words(60)), ("system", words(10)), ("user", words(80))]

    answer = complete(chat, [*rules, *spoken], store=True)

    assert answer.status_code == 200
    conversation = int(answer.headers["X-Conversation-ID"])
    expected = [("system", words(10, "rule")), ("system", words(10, "more"))]
    # (10 + 6) + (10 + 6) + (10 + 6) + (80 + 6) = 134, and the first question has 66.
    assert said_last(fake) == [*expected, ("system", words(10)), ("user", words(80))]
    reply = chat.get(f"/conversations/{conversation}")["messages"][-1]
    assert (reply["context"]["tokens"], reply["context"]["left_out"]) == (134, 1)

    # They stay while the conversation goes on, too.
    config = chat.post("/llm-configs", {"name": "n", "model_name": "m", "max_tokens": 100}).json()
    chat.client.patch(f"/api/v1/conversations/{conversation}", json={"llm_config_id": config["id"]})
    chat.ask(conversation, words(100, "last"))
    assert said_last(fake) == [*expected, ("user", words(100, "last"))]


def said_last(fake: Fake) -> list[tuple[str, str]]:
    """What the model was told the last time."""
    return [(each["role"], each["content"]) for each in fake.exchanges[-1].messages]


def test_the_first_message_of_an_exchange_that_is_kept_may_be_an_answer(chat: Chat) -> None:
    messages = [("user", words(200)), ("assistant", words(80))]

    answer = complete(chat, messages, store=True)

    assert answer.status_code == 200
    [kept] = chat.get("/conversations")["conversations"]
    context = chat.message(kept["id"], kept["active_leaf_id"])["context"]
    assert (context["messages"], context["left_out"]) == (1, 1)


@pytest.mark.parametrize("max_tokens", [256, 1000])
def test_a_reply_as_long_as_the_window_leaves_no_room(chat: Chat, max_tokens: int) -> None:
    conversation = begin(chat, max_tokens=max_tokens)

    refused = chat.post(f"/conversations/{conversation}/messages", {"content": "hello"})

    assert refused.status_code == 422
    assert f"window of 256 tokens the reply may take {max_tokens:,}" in refused.json()["detail"]
    assert "lower max_tokens" in refused.json()["detail"]


def test_numbers_are_counted_because_each_digit_may_be_a_token(
    start_chat: StartChat, fake: Fake
) -> None:
    chat = start_chat(llm_context_tokens=8192)
    fake.does(tokenizer=True)
    conversation = chat.conversation()

    answer = chat.post(
        f"/conversations/{conversation}/messages", {"content": "5.1,3.5,1.4,0.2,0\n" * 800}
    )

    # The fake's tokens are words, so it fits: what matters is that somebody has counted.
    assert answer.status_code == 201
    assert answer.json()["reply"]["context"]["counted_by"] == "tokenizer"
