"""Orphans: replies whose server has died are ended with the text they have, and no others."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from serve.core.ownership import Ownership, ownership
from serve.database import Database
from serve.migrations.run import connected
from serve.models import ChatMessage, Conversation
from serve.services import recovery
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.part7.conftest import StartChat, StartProcess
from tests.part7.servers import Chat, Fake, events_of, text_of
from tests.waiting import wait_for

SAID = "강물은 바다로 "


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks after orphans more often than every five seconds."""
    monkeypatch.setattr(recovery, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(recovery, "LOOKS_UNTIL_COUNTED", 1)


@pytest.fixture
def opened(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def orphan(database: Database, owner: str | None, said: str = SAID) -> tuple[int, int]:
    """What a server leaves that dies while it answers: conversation and reply."""
    with Session(database.engine) as session, session.begin():
        conversation = Conversation(message_count=2)
        session.add(conversation)
        session.flush()
        question = ChatMessage(conversation_id=conversation.id, seq=1, role="user", content="hello")
        session.add(question)
        session.flush()
        reply = ChatMessage(
            conversation_id=conversation.id,
            seq=2,
            parent_id=question.id,
            role="assistant",
            content=said,
            status="streaming",
            owner=owner,
        )
        session.add(reply)
        session.flush()
        conversation.active_leaf_id = reply.id
        return conversation.id, reply.id


@pytest.mark.parametrize("owner", ["4611686018427387", None])
def test_replies_of_a_dead_server_are_ended_at_the_start(
    start_chat: StartChat, opened: Database, owner: str | None
) -> None:
    places = [orphan(opened, owner), orphan(opened, owner, "")]

    chat = start_chat()

    for place, said in zip(places, (SAID, ""), strict=True):
        reply = chat.message(*place)
        assert (reply["status"], reply["content"]) == ("interrupted", said)
        assert reply["error"]["detail"] == "the server went away while it answered"
        assert reply["finished_at"] is not None
        tokens = reply["usage"].pop("completion_tokens")
        assert tokens == -(-len(said.encode()) // 3)
        assert reply["usage"] == {"prompt_tokens": 0, "total_tokens": tokens, "estimated": True}


def test_the_conversation_of_an_orphan_goes_on(
    start_chat: StartChat, opened: Database, fake: Fake
) -> None:
    conversation, _ = orphan(opened, None)
    chat = start_chat()

    chat.ask(conversation, "go on")

    assert [m["content"] for m in fake.exchanges[-1].messages] == ["hello", SAID, "go on"]
    found = chat.get("/conversations", q="바다로")["conversations"]
    assert [each["id"] for each in found] == [conversation]


def test_replies_of_a_living_server_are_left_alone(start_chat: StartChat, fake: Fake) -> None:
    one = start_chat()
    fake.does(rate=50, tokens=100)
    conversation = one.conversation()
    with one.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        next(events)

        other = start_chat()  # ends orphans at its start, and ten times a second

        ended = other.wait_until_ended(conversation, reply)
    assert ended["status"] == "complete"
    assert ended["usage"]["completion_tokens"] == 100
    # What belongs to a server that lives can be read on another one.
    assert other.follow(conversation, reply)[-1].data == ended


def test_a_stream_stays_open_while_a_reply_that_another_server_writes_stands_still(
    start_chat: StartChat, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.services.events.COMMENT_SECONDS", 0.5)
    one, other = start_chat(), start_chat()
    fake.does(hang_after=3)
    conversation = one.conversation()
    with one.streaming(conversation) as beginning:
        reply = next(beginning).data["reply_id"]
    path = f"/api/v1/conversations/{conversation}/messages/{reply}/stream"

    with other.client.stream("GET", path) as answer:
        lines = answer.iter_lines()
        seen: list[str] = []
        while seen.count(": still here") < 3:
            seen.append(next(lines))
        one.post(f"/conversations/{conversation}/messages/{reply}/stop")
        rest = list(events_of(lines))

    assert text_of(list(events_of(iter(seen)))) == " a river takes"
    assert [each.name for each in rest] == ["done"]


def test_a_living_server_ends_what_a_killed_one_has_left(
    start_process: StartProcess, start_chat: StartChat, fake: Fake
) -> None:
    killed = start_process()
    survivor = start_chat()
    fake.does(rate=20, tokens=1000)
    conversation = killed.conversation()
    with killed.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        wait_for(lambda: len(survivor.message(conversation, reply)["content"]) > 10)
        before = survivor.message(conversation, reply)["content"]

        killed.kill()
        ended = survivor.wait_until_ended(conversation, reply)

    assert ended["status"] == "interrupted"
    assert ended["content"].startswith(before)
    assert ended["usage"]["completion_tokens"] > 0
    fake.does()
    assert survivor.ask(conversation, "go on")["reply"]["status"] == "complete"


def test_a_server_looks_for_orphans_as_long_as_it_lives(chat: Chat, opened: Database) -> None:
    for _ in range(3):
        # Many requests at once, so that the next look is made by another thread.
        threads = [threading.Thread(target=chat.get, args=("/conversations",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert chat.wait_until_ended(*orphan(opened, None))["status"] == "interrupted"


@pytest.fixture
def owners(opened: Database) -> Iterator[tuple[Ownership, Ownership]]:
    """Two servers' locks on the same database."""
    both = ownership(opened), ownership(opened)
    yield both
    for each in both:
        each.release()


def test_who_holds_a_lock_lives(owners: tuple[Ownership, Ownership]) -> None:
    one, other = owners
    one.hold()

    assert other.is_alive(one.name)
    assert one.is_alive(one.name)
    assert not one.is_alive(other.name)  # it has not begun


def test_a_lock_is_held_by_a_server_and_not_by_a_thread(
    owners: tuple[Ownership, Ownership],
) -> None:
    one, other = owners
    failures: list[BaseException] = []

    def hold() -> None:
        try:
            one.hold()
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    for _ in range(3):
        thread = threading.Thread(target=hold)
        thread.start()
        thread.join()

    assert failures == []
    assert other.is_alive(one.name)
    one.release()
    # PostgreSQL hears of a closed connection a moment later.
    wait_for(lambda: not other.is_alive(one.name))


class TestInvariants:
    """Gauges that are 0, or there is a bug."""

    def test_they_are_0_after_turns_of_every_kind(self, chat: Chat, fake: Fake) -> None:
        conversation = chat.conversation()
        turn = chat.ask(conversation)
        base = f"/conversations/{conversation}/messages"
        chat.post(f"{base}/{turn['reply']['id']}/regenerate")
        chat.post(f"{base}/{turn['message']['id']}/edit", {"content": "else"})
        fake.does(status=400)
        chat.post(base, {"content": "fails"})

        assert gauges_after(chat, 0) == (0, 0)

    def test_a_gap_is_seen(self, chat: Chat, database_url: str) -> None:
        conversation = chat.conversation()
        reply = chat.ask(conversation)["reply"]["id"]
        with connected(database_url) as connection:
            connection.execute(text(f"UPDATE chat_messages SET seq = 7 WHERE id = {reply}"))

        assert gauges_after(chat, 1) == (0, 1)


def gauges_after(chat: Chat, gaps: int) -> tuple[Any, Any]:
    """Stuck messages and gaps, when they have been counted again."""
    wait_for(lambda: chat.metric("chat_seq_gaps") == gaps)
    return chat.metric("chat_messages_stuck"), chat.metric("chat_seq_gaps")
