"""The context budget: what of a conversation is said to a model with a small window."""

from typing import Any

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


def test_a_question_that_does_not_fit_is_refused_and_the_conversation_goes_on(
    chat: Chat, fake: Fake
) -> None:
    conversation = begin(chat, system_prompt=words(10))
    long = words(ROOM - EACH)

    refused = chat.post(f"/conversations/{conversation}/messages", {"content": long})

    assert refused.status_code == 422
    detail = refused.json()["detail"]
    assert detail.startswith("the message has about 156 tokens, and there is room for 140: ")
    assert "the model's window has 256" in detail
    assert fake.exchanges == []
    reply = chat.get(f"/conversations/{conversation}")["messages"][-1]
    assert (reply["status"], reply["error"]) == ("failed", {"kind": "server", "detail": detail})
    # The long message does not fit later, either, and goes as the oldest one.
    assert chat.ask(conversation, "short")["reply"]["context"]["left_out"] == 1
    assert [each["content"] for each in fake.exchanges[-1].messages] == [words(10), "short"]


def test_a_stream_says_that_a_question_does_not_fit(chat: Chat) -> None:
    events = chat.stream(begin(chat), words(500))

    assert [each.name for each in events] == ["turn", "error", "done"]
    assert events[1].data["status"] == 422
    assert "room for 156" in events[1].data["detail"]


def test_the_first_message_of_an_exchange_that_is_kept_may_be_an_answer(chat: Chat) -> None:
    body = {
        "model": "m",
        "store": True,
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": words(200)},
            {"role": "assistant", "content": words(80)},
        ],
    }
    answer = chat.client.post(
        "/v1/chat/completions", json=body, headers={"Authorization": "Bearer mykey"}
    )

    assert answer.status_code == 200
    [kept] = chat.get("/conversations")["conversations"]
    context = chat.message(kept["id"], kept["active_leaf_id"])["context"]
    assert (context["messages"], context["left_out"]) == (1, 1)


@pytest.mark.parametrize("max_tokens", [256, 1000])
def test_a_reply_as_long_as_the_window_leaves_no_room(chat: Chat, max_tokens: int) -> None:
    conversation = begin(chat, max_tokens=max_tokens)

    refused = chat.post(f"/conversations/{conversation}/messages", {"content": "hello"})

    assert refused.status_code == 422
    assert "there is room for 0: the model's window has 256" in refused.json()["detail"]
