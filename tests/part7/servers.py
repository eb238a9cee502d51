"""The chat server and the fake model server as the tests run them: in threads or as processes."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from serve.core.config import Settings
from serve.main import Server, create_app

from course import ports
from tests.conftest import ROOT, clean_environment
from tests.fake_llm.app import Exchange, FakeLlm
from tests.fake_llm.script import Script
from tests.waiting import PATIENCE, wait_for

PART = ROOT / "part7-llm-serving"
KEY = {"X-API-Key": "mykey"}


class InThread:
    """A uvicorn server in a thread of this process."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_for(lambda: server.started or not self._thread.is_alive())
        assert server.started

    def _run(self) -> None:
        asyncio.run(self.server.serve())

    def stop(self) -> None:
        """End it in order."""
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def free_port() -> int:
    """Below the ephemeral range, and apart from what other workers choose."""
    return ports.choose(random.randint(20_000, 32_000))


class Fake:
    """A fake model server that can go away and come back at its port."""

    def __init__(self) -> None:
        self.app = FakeLlm()
        self.port = free_port()
        self._running: InThread | None = None
        self.start()

    @property
    def url(self) -> str:
        """What LLM_BASE_URL is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def exchanges(self) -> list[Exchange]:
        """What it was asked, oldest first."""
        return list(self.app.exchanges)

    def does(self, **script: Any) -> None:
        """How it behaves from now on."""
        self.app.script = Script(**script)

    def start(self) -> None:
        """Listen."""
        config = uvicorn.Config(
            self.app,
            port=self.port,
            log_config=None,  # it would change the loggers of the whole process
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._running = InThread(uvicorn.Server(config))

    def stop(self) -> None:
        """Refuse connections."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def wait_until_idle(self) -> None:
        """Nobody is being answered any more."""
        wait_for(lambda: all(each.outcome != "running" for each in self.exchanges))


@dataclass
class Event:
    """One server-sent event."""

    name: str
    data: Any
    id: int | None = None


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Read a stream of events."""
    name, data, number = "message", "", None
    for line in lines:
        field_name, _, value = line.partition(": ")
        match field_name:
            case "event":
                name = value
            case "data":
                data = value
            case "id":
                number = int(value)
            case "" if not line and data:
                yield Event(name, json.loads(data), number)
                name, data, number = "message", "", None


@dataclass
class Chat:
    """A running chat server and a client of it."""

    port: int
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE, headers=KEY
        )

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """POST JSON below /api/v1."""
        return self.client.post(f"/api/v1{path}", json=body or {}, headers=headers)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET below /api/v1 that must succeed."""
        answer = self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def conversation(self, **values: Any) -> int:
        """Begin a conversation; its id."""
        made = self.post("/conversations", values)
        assert made.status_code == 201, made.text
        return int(made.json()["id"])

    def ask(self, conversation: int, content: str = "hello", **body: Any) -> Any:
        """A turn whose reply is whole."""
        answer = self.post(f"/conversations/{conversation}/messages", {"content": content} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    @contextmanager
    def streaming(
        self, conversation: int, content: str = "hello", key: str | None = None, **body: Any
    ) -> Iterator[Iterator[Event]]:
        """A turn whose reply comes as events; leaving the block is leaving the stream."""
        headers = {"Idempotency-Key": key} if key else {}
        with self.client.stream(
            "POST",
            f"/api/v1/conversations/{conversation}/messages",
            json={"content": content, "stream": True} | body,
            headers=headers,
        ) as answer:
            if answer.status_code != 200:
                answer.read()
            assert answer.status_code == 200, answer.text
            yield events_of(answer.iter_lines())

    def stream(self, conversation: int, content: str = "hello", **body: Any) -> list[Event]:
        """All events of a turn."""
        with self.streaming(conversation, content, **body) as events:
            return list(events)

    def follow(self, conversation: int, reply: int, after: int | None = None) -> list[Event]:
        """The events of a reply that is there, after a position."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        with self.client.stream(
            "GET", f"/api/v1/conversations/{conversation}/messages/{reply}/stream", headers=headers
        ) as answer:
            assert answer.status_code == 200
            return list(events_of(answer.iter_lines()))

    def message(self, conversation: int, message: int) -> Any:
        """One message."""
        return self.get(f"/conversations/{conversation}/messages/{message}")

    def wait_until_ended(self, conversation: int, reply: int) -> Any:
        """A reply in its final state."""
        wait_for(lambda: self.message(conversation, reply)["status"] != "streaming")
        return self.message(conversation, reply)

    def metric(self, name: str) -> float:
        """The value of a metric, named with its labels; 0 while nobody has set it."""
        lines = self.client.get("/metrics").text.splitlines()
        assert any(line.startswith(f"# TYPE {name.partition('{')[0]} ") for line in lines), name
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0)


def text_of(events: list[Event]) -> str:
    """What the deltas say together."""
    return "".join(event.data["text"] for event in events if event.name == "delta")


@contextmanager
def chat_in_thread(fake: Fake, database_url: str, **settings: Any) -> Iterator[Chat]:
    """The chat server in this process, on a database whose tables are there."""
    port = free_port()
    values: dict[str, Any] = {
        "chat_port": port,
        "database_url": database_url,
        "llm_base_url": fake.url,
        "llm_retries": 0,
        "drain_seconds": 0,
        "mlflow_tracking_uri": "",
    }
    made = Settings(_env_file=None, **(values | settings))
    app = create_app(made)
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False)
    config.timeout_graceful_shutdown = 5
    running = InThread(Server(config, app, made.drain_seconds))
    chat = Chat(port)
    try:
        yield chat
    finally:
        chat.client.close()
        running.stop()


@dataclass
class ChatProcess(Chat):
    """The chat server as a process, which can be killed and started again."""

    environ: dict[str, str] = field(default_factory=dict)
    log: Path = Path(os.devnull)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and wait until it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve.main"],
                cwd=PART,
                env=clean_environment() | self.environ | {"CHAT_PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )
        wait_for(lambda: self._said("Uvicorn running", before) or self.ended)
        assert not self.ended, self.log.read_text()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> None:
        """What `docker stop` sends."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit status."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def _said(self, text: str, before: int) -> bool:
        return text.encode() in self.log.read_bytes()[before:]


@contextmanager
def chat_process(
    fake: Fake, database_url: str, folder: Path, **variables: str
) -> Iterator[ChatProcess]:
    """The chat server as the lesson starts it."""
    environ = {
        "DATABASE_URL": database_url,
        "LLM_BASE_URL": fake.url,
        "MLFLOW_TRACKING_URI": "",
    } | variables
    chat = ChatProcess(free_port(), environ=environ, log=folder / "chat.log")
    try:
        chat.start()
        yield chat
    finally:
        chat.client.close()
        if not chat.ended:
            chat.kill()
