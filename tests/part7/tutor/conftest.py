"""Fixtures of the tutor: one index of the real lessons for a whole worker, servers on it."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from tutor.answer import Message, Tutor
from tutor.app import create_app
from tutor.passages import read_lessons

from course import ports
from tests.conftest import ROOT, clean_environment
from tests.waiting import PATIENCE, wait_for

PART = ROOT / "part7-llm-serving"
TALK = "How do I kill the generator?"  # a question with a long answer

Ask = Callable[..., str]


@pytest.fixture(scope="session")
def tutor() -> Tutor:
    """The tutor with this repository's lessons."""
    return Tutor(read_lessons(ROOT))


@pytest.fixture(scope="session")
def ask(tutor: Tutor) -> Ask:
    """A function that says what a user says, one message after the other, and gets the answer."""
    return lambda *said: tutor.answer([Message("user", each) for each in said])


@pytest.fixture(scope="session")
def client(tutor: Tutor) -> Iterator[TestClient]:
    """The server in this process, as fast as possible; a bug becomes its answer."""
    with TestClient(create_app(tutor, 0), raise_server_exceptions=False) as client:
        yield client


def request(content: Any = TALK, **more: Any) -> dict[str, Any]:
    """The body of a request with one question."""
    return {"model": "course-tutor", "messages": [{"role": "user", "content": content}]} | more


def events(text: str) -> list[dict[str, Any]]:
    """The chunks of a stream that has ended in order."""
    *chunks, done, nothing = text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    assert all(chunk.startswith("data: ") for chunk in chunks)
    return [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]


def content_of(chunks: list[dict[str, Any]]) -> str:
    """What the chunks say together."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def environment(**variables: str) -> dict[str, str]:
    """An environment that holds these settings of the tutor and no others."""
    clean = {k: v for k, v in clean_environment().items() if not k.startswith("TUTOR_")}
    return clean | variables


def run_tutor(
    *args: str, cwd: Path = PART, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m tutor`, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "tutor", *args],
        cwd=cwd,
        env=environment(**(variables or {})),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@dataclass
class Running:
    """A tutor in a process of its own."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    port: int
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Its log; each whole line is a JSON document."""
        written = self.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The line of one request, as soon as it is written."""
        wait_for(lambda: any(each.get("request_id") == request_id for each in self.lines()))
        return next(each for each in self.lines() if each.get("request_id") == request_id)


@contextmanager
def running_tutor(folder: Path, **variables: str) -> Iterator[Running]:
    """Run `python -m tutor` with its log in `folder`, until the block ends."""
    port = ports.choose(random.randint(20_000, 32_000))  # below the ephemeral range
    log = folder / f"tutor-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tutor"],
            cwd=PART,
            env=environment(TUTOR_PORT=str(port), **variables),
            stdout=output,
            stderr=output,
        )
    address = f"http://127.0.0.1:{port}"
    with ExitStack() as closing:
        closing.callback(process.wait)
        closing.callback(process.kill)
        client = closing.enter_context(httpx2.Client(base_url=address, timeout=PATIENCE))
        wait_for(lambda: '"ready"' in log.read_text() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        yield Running(process, client, port, log)
        client.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == -signal.SIGTERM, log.read_text()
