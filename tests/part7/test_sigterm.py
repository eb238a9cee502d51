"""SIGTERM: running replies get a grace period, and nobody holds up the end for long."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from serve.main import STOP_SECONDS
from sqlalchemy import create_engine, text

from tests.fake_llm.script import Script
from tests.part7.conftest import StartProcess
from tests.part7.servers import Chat, ChatProcess, Event, Fake, chat_process
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow

StartOn = Callable[..., ChatProcess]
A_FEW_SECONDS = 10.0  # for a machine that is busy; without a bound it would be forever


@pytest.fixture
def start_on(fake: Fake, tmp_path: Path) -> Iterator[StartOn]:
    """A function that runs the chat server as a process on a database, with variables."""
    with ExitStack() as running:

        def start(url: str, **variables: str) -> ChatProcess:
            return running.enter_context(chat_process(fake, url, tmp_path, **variables))

        yield start


class Streaming(threading.Thread):
    """A client that takes every event of a turn, or of a reply that somebody else has asked for."""

    def __init__(self, chat: Chat, conversation: int, reply: int | None = None) -> None:
        super().__init__(daemon=True)
        # A client of its own: the others' connections would be closed with its.
        self.chat = Chat(chat.port)
        self.conversation = conversation
        self.reply = reply
        self.events: list[Event] = []
        self.start()
        wait_for(lambda: any(each.name == "delta" for each in self.events))

    def run(self) -> None:
        if self.reply is not None:
            # The first delta is enough to know that it follows.
            self.events += [Event("delta", {"text": ""})]
            self.events += self.chat.follow(self.conversation, self.reply)
        else:
            with self.chat.streaming(self.conversation) as events:
                for event in events:
                    self.events.append(event)
        self.chat.client.close()

    @property
    def end(self) -> list[Event]:
        """What comes after the text."""
        self.join(PATIENCE)
        assert not self.is_alive()
        return [each for each in self.events if each.name not in {"turn", "delta"}]


def conversation_with(chat: Chat, model: str) -> int:
    """A conversation whose model is named so."""
    config = chat.post("/llm-configs", {"name": model, "model_name": model}).json()
    return chat.conversation(llm_config_id=config["id"])


def statuses(url: str) -> dict[str, int]:
    """How many messages have which status: asked of the database, as no server runs."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT status, count(*) FROM chat_messages GROUP BY status")
            )
            return {row[0]: row[1] for row in rows}
    finally:
        engine.dispose()


def stop_and_wait_until_it_is_known(chat: ChatProcess) -> float:
    """Send SIGTERM; when that was."""
    begun = time.monotonic()
    chat.terminate()
    wait_for(lambda: chat.client.get("/ready").status_code == 503)
    return begun


def test_running_replies_get_a_grace_period_and_new_ones_are_sent_elsewhere(
    start_process: StartProcess, fake: Fake, gates: set[str], database_url: str
) -> None:
    fake.app.scripts["waits"] = Script(gates={0: "begin", 4: "go on"})
    fake.app.scripts["hangs"] = Script(gates={0: "begin"}, hang_after=4)
    gates.add("begin")
    grace = 4
    chat = start_process(DRAIN_SECONDS=str(grace))
    empty = chat.conversation()
    in_time = Streaming(chat, conversation_with(chat, "waits"))
    too_late = Streaming(chat, conversation_with(chat, "hangs"))

    begun = stop_and_wait_until_it_is_known(chat)

    assert chat.client.get("/live").status_code == 200
    assert chat.get(f"/conversations/{empty}")["message_count"] == 0
    refused = chat.post(f"/conversations/{empty}/messages", {"content": "hello"})
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "2"
    assert not any(each.name in {"error", "done"} for each in in_time.events + too_late.events)
    gates.add("go on")
    [done] = in_time.end
    assert (done.name, done.data["status"]) == ("done", "complete")
    assert not chat.ended  # it waits for the other one
    error, done = too_late.end
    assert (error.name, error.data["status"], error.data["kind"]) == ("error", 503, "server")
    assert (done.name, done.data["status"]) == ("done", "interrupted")
    assert len(done.data["content"].split()) == 4
    chat.client.close()  # a connection that is kept open is no reason to wait
    assert chat.wait() == -signal.SIGTERM
    assert grace < time.monotonic() - begun < grace + STOP_SECONDS + A_FEW_SECONDS
    assert statuses(database_url) == {"complete": 3, "interrupted": 1}
    fake.wait_until_idle()
    assert fake.exchanges[-1].outcome == "closed by the client"


def test_a_server_with_nothing_to_do_does_not_wait(start_process: StartProcess) -> None:
    chat = start_process(DRAIN_SECONDS="100")
    begun = time.monotonic()

    chat.terminate()

    assert chat.wait() == -signal.SIGTERM
    assert time.monotonic() - begun < STOP_SECONDS + A_FEW_SECONDS


def test_a_reply_that_waits_for_its_turn_is_ended_too(
    start_process: StartProcess, fake: Fake, database_url: str
) -> None:
    fake.does(hang_after=4)
    chat = start_process(DRAIN_SECONDS="0", LLM_MAX_RUNNING="1")
    with chat.streaming(chat.conversation()) as first:
        next(first)
        with chat.streaming(chat.conversation()) as second:
            next(second)
            assert chat.metric("chat_generations_queued") == 1

            chat.terminate()

            for events in (first, second):
                *_, error, done = events
                assert (error.name, error.data["status"]) == ("error", 503)
                assert (done.name, done.data["status"]) == ("done", "interrupted")
    chat.client.close()
    assert chat.wait() == -signal.SIGTERM
    assert statuses(database_url) == {"complete": 2, "interrupted": 2}


def test_a_follower_and_a_slow_reader_do_not_hold_up_the_end(
    fake: Fake, sqlite_url: str, start_on: StartOn
) -> None:
    fake.does()
    grace = 1
    chat = start_on(sqlite_url, DRAIN_SECONDS=str(grace))
    long = chat.ask(chat.conversation())["reply"]
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        # Far more than what the kernel takes from a server whose client does not read.
        connection.execute(
            text("UPDATE chat_messages SET content = :text WHERE id = :id"),
            {"text": "a river " * 1_000_000, "id": long["id"]},
        )
    engine.dispose()
    fake.does(hang_after=4)
    asking = Streaming(chat, chat.conversation())
    follower = Streaming(chat, asking.conversation, asking.events[0].data["reply_id"])
    with slow_reader(chat, long["conversation_id"], long["id"]) as reader:
        assert reader.recv(1)

        begun = time.monotonic()
        chat.terminate()
        ends = [each.end for each in (asking, follower)]
        status = chat.wait()

        assert time.monotonic() - begun < grace + STOP_SECONDS + A_FEW_SECONDS
    assert status == -signal.SIGTERM
    for error, done in ends:
        assert (error.name, error.data["status"]) == ("error", 503)
        assert (done.name, done.data["status"]) == ("done", "interrupted")
    assert "streaming" not in statuses(sqlite_url)


def slow_reader(chat: Chat, conversation: int, reply: int) -> socket.socket:
    """A client that has asked for a reply and does not read it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(PATIENCE)
    reader.connect(("127.0.0.1", chat.port))
    path = f"/api/v1/conversations/{conversation}/messages/{reply}/stream"
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: mykey\r\n\r\n".encode())
    return reader


# What ended it is the second one; after Ctrl+C the status is 0.
@pytest.mark.parametrize(
    ("second", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)]
)
def test_a_second_signal_does_not_wait(
    fake: Fake, sqlite_url: str, start_on: StartOn, second: signal.Signals, status: int
) -> None:
    fake.does(hang_after=4)
    chat = start_on(sqlite_url, DRAIN_SECONDS="100")
    streaming = Streaming(chat, chat.conversation())
    stop_and_wait_until_it_is_known(chat)
    assert chat.process is not None
    begun = time.monotonic()

    chat.process.send_signal(second)

    error, done = streaming.end
    assert (error.name, done.data["status"]) == ("error", "interrupted")
    chat.client.close()
    assert chat.wait() == status
    assert time.monotonic() - begun < STOP_SECONDS + A_FEW_SECONDS
    assert statuses(sqlite_url) == {"complete": 1, "interrupted": 1}


def test_answers_that_nobody_keeps_get_the_grace_period_and_new_ones_are_refused(
    start_on: StartOn, sqlite_url: str, fake: Fake, gates: set[str]
) -> None:
    hello = {"model": "course-tutor", "messages": [{"role": "user", "content": "hello"}]}
    bearer = {"Authorization": "Bearer mykey"}
    fake.does(tokens=4, gates={2: "go"})
    chat = start_on(sqlite_url, DRAIN_SECONDS="60")
    place = "/v1/chat/completions"
    with chat.client.stream("POST", place, json=hello | {"stream": True}, headers=bearer) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "content" in line)
        chat.terminate()
        wait_for(lambda: chat.client.get("/ready").status_code == 503)
        refused = chat.client.post(place, json=hello, headers=bearer)
        assert refused.status_code == 503, refused.text
        gates.add("go")
        assert "data: [DONE]" in list(lines)
    chat.client.close()
    assert chat.wait() == -signal.SIGTERM
