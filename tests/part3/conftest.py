"""Fixtures of part 3: seeded rows, one saved model per module, and a connection that can break."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.conftest import Mlflow, RunModule, Server

SAVE = "part3.save_model_to_registry"
PROMOTE = "part3.promote_model"
LOAD = "part3.load_model_from_registry"


def new_name() -> str:
    """A model name that no other test has."""
    return f"model_{uuid4().hex[:8]}"


@dataclass(frozen=True)
class Saved:
    """A model that save_model_to_registry has registered as version 1."""

    name: str
    run_id: str
    printed: str
    stderr: str
    environ: dict[str, str]


@pytest.fixture(scope="session")
def registry_environ(
    run_module: "RunModule", postgres: "Server", mlflow_server: "Mlflow"
) -> Iterator[dict[str, str]]:
    """The environment of a script: MLflow, and a database with 600 rows."""
    name = f"test_{uuid4().hex[:12]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    environ = mlflow_server.environ | {
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_DB": name,
    }
    run_module("part3.seed_database", "--rows", "600", env=environ, check=True)
    yield environ
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def client(mlflow_server: "Mlflow") -> "MlflowClient":
    """A client of the shared MLflow server."""
    from mlflow import MlflowClient

    return MlflowClient(mlflow_server.uri)


@pytest.fixture(scope="session")
def saved(run_module: "RunModule", registry_environ: dict[str, str]) -> Saved:
    """One saved model for all tests; none of them gives it a version or a champion."""
    return save(run_module, registry_environ)


def save(
    run_module: "RunModule", registry_environ: dict[str, str], *, fresh: bool = False
) -> Saved:
    """Save a model under a new name."""
    name = new_name()
    done = run_module(SAVE, "--model-name", name, env=registry_environ, check=True, fresh=fresh)
    found = re.search(r"^run +(\w{32})$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return Saved(name, found.group(1), done.stdout, done.stderr, registry_environ)


@dataclass
class Relay:
    """Passes TCP on to `target` until a client has sent `cut_at`; then it is a dead server."""

    target: int
    cut_at: bytes | None = None
    port: int = 0
    _listener: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection and accept no more."""
        if self._listener:
            # Wakes the thread in accept(); closing alone leaves it, and the port, in the kernel.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    @property
    def was_cut(self) -> bool:
        """Whether nobody listens now."""
        return self._listener is None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._open += [client, server]
                for source, sink, sent in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass_on, args=(source, sink, sent), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, sent: bool) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                if sent and self.cut_at and self.cut_at in data:
                    self.cut()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    """A function that starts a relay to a port; it is stopped afterwards."""
    relays: list[Relay] = []

    def start(target: int, cut_at: bytes | None = None) -> Relay:
        relays.append(Relay(target, cut_at))
        relays[-1].start()
        return relays[-1]

    yield start
    for each in relays:
        each.cut()


def only_line(stderr: str) -> str:
    """The one line that reports a failure; the lines of the log, which carry a time, do not count.

    Fails where there is a traceback or a second line.
    """
    assert "Traceback" not in stderr, stderr
    lines = [line for line in stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: "), stderr
    return lines[0]
