"""`kill -9`: what was acknowledged is there, nothing is stuck, and a retry makes no second turn."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.conftest import StartProxy
from tests.faults import Relay
from tests.part7.conftest import StartProcess
from tests.part7.servers import (
    KEY,
    Chat,
    ChatProcess,
    Fake,
    chat_in_thread,
    chat_process,
    events_of,
)
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow

ROUNDS = 3
CLIENTS = 8


@dataclass
class Acknowledged:
    """A turn that the server has promised to keep."""

    conversation: int
    key: str
    content: str
    reply: int


@dataclass
class Load:
    """Clients that ask one question after another, each in a conversation of its own."""

    port: int
    acknowledged: list[Acknowledged] = field(default_factory=list)
    unanswered: list[tuple[int, str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, conversations: list[int], name: str) -> None:
        """Ask from now on."""
        for number, conversation in enumerate(conversations):
            args = (conversation, f"{name}-{number}", number % 2 == 0)
            self._threads.append(threading.Thread(target=self._ask, args=args, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Every client has noticed that the server is gone."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _ask(self, conversation: int, name: str, stream: bool) -> None:
        with httpx2.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", headers=KEY) as client:
            count = 0
            while not self._stopped.is_set():
                count += 1
                key = content = f"{name}-{count}"
                try:
                    reply = send(client, conversation, key, content, stream=stream)
                except httpx2.TransportError:
                    self.unanswered.append((conversation, key, content))
                    return
                except AssertionError as exc:
                    self.wrong.append(str(exc))
                    return
                if reply is None:
                    self.unanswered.append((conversation, key, content))
                    return
                turn = Acknowledged(conversation, key, content, reply.number)
                self.acknowledged.append(turn)
                if not reply.ended:
                    return


@dataclass
class Reply:
    """The number of a reply, and whether its end has come."""

    number: int
    ended: bool


def send(
    client: httpx2.Client, conversation: int, key: str, content: str, *, stream: bool
) -> Reply | None:
    """A turn; None if the server went away before it said anything."""
    path = f"/conversations/{conversation}/messages"
    headers = {"Idempotency-Key": key}
    body = {"content": content, "stream": stream}
    if not stream:
        answer = client.post(path, json=body, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 201, answer.text
        return Reply(answer.json()["reply"]["id"], ended=True)
    number = None
    try:
        with client.stream("POST", path, json=body, headers=headers, timeout=PATIENCE) as answer:
            assert answer.status_code == 200
            for event in events_of(answer.iter_lines()):
                if event.name == "turn":
                    number = event.data["reply_id"]
                if event.name == "done":
                    return Reply(number or 0, ended=True)
    except httpx2.TransportError:
        pass
    return None if number is None else Reply(number, ended=False)


def test_no_acknowledged_message_is_lost_when_the_server_is_killed_under_load(
    start_process: StartProcess, fake: Fake
) -> None:
    fake.does(rate=100, tokens=16)
    chat = start_process()
    conversations = [chat.conversation() for _ in range(CLIENTS)]
    acknowledged: list[Acknowledged] = []

    for number in range(ROUNDS):
        load = Load(chat.port)
        load.start(conversations, f"round-{number}")
        wait_for(lambda load=load: len(load.acknowledged) >= 2 * CLIENTS or load.wrong)  # type: ignore[misc]
        chat.kill()
        load.stop()
        assert not load.wrong
        chat.start()

        acknowledged += load.acknowledged
        everything = {
            each: chat.get(f"/conversations/{each}", show="tree") for each in conversations
        }
        check_rows(everything, acknowledged)
        check_retries(
            chat,
            [*load.unanswered, *((a.conversation, a.key, a.content) for a in acknowledged[-4:])],
        )
    assert chat.metric("chat_messages_stuck") == 0
    assert chat.metric("chat_seq_gaps") == 0


def check_rows(everything: dict[int, Any], acknowledged: list[Acknowledged]) -> None:
    """All that was acknowledged is there, has ended, and is numbered without a gap."""
    messages = {
        message["id"]: message for tree in everything.values() for message in tree["messages"]
    }
    for turn in acknowledged:
        reply = messages[turn.reply]
        assert reply["conversation_id"] == turn.conversation
        assert messages[reply["parent_id"]]["content"] == turn.content
    for tree in everything.values():
        assert {each["status"] for each in tree["messages"]} <= {"complete", "interrupted"}
        seqs = [each["seq"] for each in tree["messages"]]
        assert seqs == list(range(1, len(seqs) + 1))
        assert tree["message_count"] == len(seqs)
        contents = [each["content"] for each in tree["messages"] if each["role"] == "user"]
        assert len(contents) == len(set(contents))


def check_retries(chat: Chat, turns: list[tuple[int, str, str]]) -> None:
    """The same key makes the turn if it was never there, and gives the one that is there else."""
    for conversation, key, content in turns:
        before = chat.get(f"/conversations/{conversation}", show="tree")["messages"]
        there = [each["id"] for each in before if each["content"] == content]
        path = f"/conversations/{conversation}/messages"
        answer = chat.post(path, {"content": content}, **{"Idempotency-Key": key})
        after = chat.get(f"/conversations/{conversation}", show="tree")["messages"]
        if there:
            assert answer.status_code == 200
            assert answer.headers["Idempotency-Replayed"] == "true"
            assert answer.json()["message"]["id"] == there[0]
            assert after == before
        else:
            assert answer.status_code == 201
            assert len(after) == len(before) + 2


def test_a_killed_servers_reply_keeps_the_text_that_it_had(
    start_process: StartProcess, fake: Fake
) -> None:
    fake.does(hang_after=5)
    chat = start_process()
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        wait_for(lambda: chat.message(conversation, reply)["content"] != "")
    said = chat.message(conversation, reply)["content"]

    chat.kill()
    chat.start()

    ended = chat.message(conversation, reply)
    assert ended["status"] == "interrupted"
    assert ended["content"] == said
    assert ended["error"]["kind"] == "server"
    assert chat.follow(conversation, reply)[-1].data == ended
    assert chat.metric('chat_replies_total{outcome="interrupted"}') == 1


class TestTwoServersOnOneDatabase:
    def test_the_start_of_one_leaves_the_replies_of_the_other_alone(
        self, fake: Fake, gates: set[str], postgresql_url: str, tmp_path: Path
    ) -> None:
        fake.does(gates={4: "go on"})
        with started(fake, postgresql_url, tmp_path / "one") as first:
            conversation, reply = a_reply_that_waits(first)

            with started(fake, postgresql_url, tmp_path / "two") as second:
                assert second.message(conversation, reply)["status"] == "streaming"
                gates.add("go on")

                ended = second.wait_until_ended(conversation, reply)

        assert ended["status"] == "complete"

    def test_the_other_ends_what_a_killed_one_has_left(
        self, fake: Fake, postgresql_url: str, tmp_path: Path
    ) -> None:
        fake.does(hang_after=4)
        with (
            started(fake, postgresql_url, tmp_path / "one") as first,
            started(fake, postgresql_url, tmp_path / "two") as second,
        ):
            conversation, reply = a_reply_that_waits(first)
            first.kill()
            begun = time.monotonic()

            ended = second.wait_until_ended(conversation, reply)

            assert ended["status"] == "interrupted"
            assert time.monotonic() - begun < 10 + 5  # it looks every 5 s; the rest is patience
            assert second.metric('chat_replies_total{outcome="interrupted"}') == 1

    def test_who_was_without_the_database_for_long_is_known_to_live_again(
        self,
        fake: Fake,
        gates: set[str],
        postgresql_url: str,
        tmp_path: Path,
        proxy: StartProxy,
    ) -> None:
        fake.does(gates={4: "later"})
        place = make_url(postgresql_url)
        assert place.port is not None
        between = proxy(place.port)
        behind = place.set(port=between.port).render_as_string(hide_password=False)
        with started(fake, behind, tmp_path / "one") as first:
            conversation, reply = a_reply_that_waits(first)
            locks = held_locks(postgresql_url)
            assert locks
            between.cut()
            wait_for(lambda: not held_locks(postgresql_url))
            # Long enough for it to try, and to find the database away.
            wait_for(lambda: b"nobody looks after orphans" in first.log.read_bytes())
            between.start()

            wait_for(lambda: held_locks(postgresql_url) == locks, first.log.read_text)
            with started(fake, postgresql_url, tmp_path / "two") as second:
                gates.add("later")
                ended = second.wait_until_ended(conversation, reply)

        assert ended["status"] == "complete"


def test_a_turn_whose_commit_was_not_acknowledged_does_not_stay_running(
    fake: Fake, postgresql_url: str
) -> None:
    place = make_url(postgresql_url)
    assert place.port is not None
    with Relay(place.port, []) as relay:
        behind = place.set(port=relay.port).render_as_string(hide_password=False)
        with chat_in_thread(fake, behind) as chat:
            conversation = chat.conversation()
            relay.cuts.append(True)  # the next COMMIT arrives, its answer does not
            path = f"/conversations/{conversation}/messages"
            refused = chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "k"})
            assert refused.status_code == 503
            assert not relay.cuts
            [_, reply] = chat.get(f"/conversations/{conversation}")["messages"]
            assert reply["status"] == "streaming"

            ended = chat.wait_until_ended(conversation, reply["id"])

            assert ended["status"] == "interrupted"
            again = chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "k"})
            assert again.status_code == 200
            assert again.json()["reply"] == ended


@contextmanager
def started(fake: Fake, url: str, folder: Path) -> Iterator[ChatProcess]:
    """A server with a folder of its own for its log."""
    folder.mkdir()
    with chat_process(fake, url, folder) as chat:
        yield chat


def a_reply_that_waits(chat: Chat) -> tuple[int, int]:
    """Conversation and number of a reply that has some text and waits for its model."""
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = int(next(events).data["reply_id"])
        next(events)
    return conversation, reply


def held_locks(url: str) -> set[tuple[int, int]]:
    """The advisory locks that somebody holds in the database."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND database = (SELECT oid FROM pg_database "
                    "WHERE datname = current_database())"
                )
            )
            return {(row.classid, row.objid) for row in rows}
    finally:
        engine.dispose()
