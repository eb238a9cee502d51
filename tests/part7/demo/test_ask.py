"""The client for a terminal, as it is run."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import clean_environment
from tests.part7.servers import PART, ChatProcess, Fake
from tests.waiting import PATIENCE


def command(server: ChatProcess, *arguments: str, key: str = "mykey") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.ask", *arguments],
        cwd=PART,
        env=clean_environment()
        | {"CHAT_API_URL": f"http://127.0.0.1:{server.port}", "CHAT_API_KEY": key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(server: ChatProcess, *arguments: str, key: str = "mykey") -> tuple[int, str, str]:
    """Exit status, and what is printed on both ways."""
    asking = command(server, *arguments, key=key)
    said, complained = asking.communicate(timeout=PATIENCE)
    return asking.returncode, said, complained


def test_the_reply_is_printed_and_where_it_is(server: ChatProcess, model: Fake) -> None:
    model.does(tokens=5)

    status, said, complained = ask(server, "강물은 어디로?")

    assert (status, complained) == (0, "")
    assert said.startswith(" a river takes what the\n\nreply ")
    assert ": complete, 5 tokens\n" in said


def test_a_conversation_goes_on(server: ChatProcess, model: Fake) -> None:
    model.does(tokens=5)
    conversation = server.conversation()

    for _ in range(2):
        assert ask(server, "hello", "--conversation", str(conversation))[0] == 0

    assert len(server.get(f"/conversations/{conversation}")["messages"]) == 4


@pytest.mark.parametrize(
    ("question", "key", "why"),
    [
        ("", "mykey", "at least 1"),
        ("x", "yourkey", "set CHAT_API_KEY"),
        ("x", "한국어", "CHAT_API_KEY is unusable"),
        ("far too long " * 10_000, "mykey", "there is room for"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    server: ChatProcess, question: str, key: str, why: str
) -> None:
    before = server.get("/conversations")["conversations"]

    status, said, complained = ask(server, question, key=key)

    assert status in {1, 2}
    assert said == ""
    assert why in complained
    assert complained.count("\n") == 1
    assert server.get("/conversations")["conversations"] == before


def test_a_model_that_is_away_is_said(server: ChatProcess, model: Fake) -> None:
    model.does(status=503)

    status, said, complained = ask(server, "hello")

    assert status == 1
    assert ": failed, 0 tokens" in said
    assert "answers HTTP 503" in complained


def test_ctrl_c_ends_it_without_a_word_and_the_reply_goes_on(
    server: ChatProcess, model: Fake
) -> None:
    model.does(tokens=30, rate=30)
    conversation = server.conversation()
    asking = command(server, "hello", "--conversation", str(conversation))
    assert asking.stdout is not None
    assert asking.stdout.read(3)

    asking.send_signal(signal.SIGINT)

    _, complained = asking.communicate(timeout=PATIENCE)
    assert (asking.returncode, complained) == (130, "")
    (_, reply) = server.get(f"/conversations/{conversation}")["messages"]
    assert server.wait_until_ended(conversation, reply["id"])["status"] == "complete"


def test_whoever_reads_it_may_stop_reading(server: ChatProcess, model: Fake) -> None:
    model.does(tokens=60, rate=60)
    asking = command(server, "hello")
    assert asking.stdout is not None
    assert asking.stderr is not None
    assert asking.stdout.read(3)

    asking.stdout.close()

    assert asking.wait(PATIENCE) == 1
    assert asking.stderr.read() == ""
    asking.stderr.close()
