"""Trouble on demand: connections that break at a given moment, a PostgreSQL that can be killed."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psycopg

from course import ports, processes
from course.config import Config
from course.home import Home
from course.services.postgres import Postgres
from course.supervisor import Supervisor

COMMIT = b"COMMIT\x00"


class Relay:
    """Forwards TCP to `port` and cuts at COMMIT, once for every entry of `cuts`.

    An entry says whether that COMMIT still arrives at the server. Either way its answer never
    arrives at the client, which cannot know whether its rows are in.
    """

    def __init__(self, port: int, cuts: list[bool]) -> None:
        self._target = port
        self.cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "Relay":
        self._start(self._accept)
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            _hang_up(end)
        for thread in self._threads:
            thread.join(timeout=10)
        for end in self._sockets:
            end.close()

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            answers = threading.Event()  # set: the server's answers still reach the client
            answers.set()
            self._start(self._requests, client, server, answers)
            self._start(self._answers, client, server, answers)

    def _requests(
        self, client: socket.socket, server: socket.socket, answers: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while received := client.recv(65536):
                if COMMIT in received and self.cuts:
                    answers.clear()
                    if self.cuts.pop(0):
                        server.sendall(received)
                        return  # the thread of the answers hangs up when the server has answered
                    break
                server.sendall(received)
        _hang_up(client)
        _hang_up(server)

    def _answers(
        self, client: socket.socket, server: socket.socket, answers: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while received := server.recv(65536):
                if not answers.is_set():
                    break
                client.sendall(received)
        _hang_up(client)
        _hang_up(server)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class OwnPostgres:
    """A PostgreSQL server of one test's own, with an empty database, on a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        # Below the range that the system takes ports for outgoing connections from.
        self.port = ports.choose(random.randrange(26000, 28000))
        home = Home(folder / ".course")
        self._supervisor = Supervisor(home, Config(postgres_port=self.port))
        self._home = home
        self.start()

    @property
    def environ(self) -> dict[str, str]:
        """What a script needs in its environment to find this server."""
        return {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(self.port)}

    def connect(self) -> psycopg.Connection:
        """A psycopg 3 connection in autocommit."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
            autocommit=True,
        )

    def start(self) -> None:
        """Start the server, after whatever happened to it."""
        started = self._supervisor.up([Postgres.name])
        assert started[Postgres.name] == self.port

    def stop(self) -> None:
        """Shut the server down as an administrator does."""
        self._supervisor.down()

    def kill(self) -> None:
        """`kill -9` of the postmaster: no farewell, no checkpoint."""
        record = processes.running(self._home, Postgres.name)
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self._supervisor.down(wipe=True)


@dataclass
class Proxy:
    """Passes TCP on to `target`; it can be cut and mended, and it can hang."""

    target: int
    cut_at: bytes | None = None  # what a client has to send for it to be cut
    port: int = 0
    hangs: bool = False
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
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    @property
    def was_cut(self) -> bool:
        """Whether nobody listens now."""
        return self._listener is None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._open += [client, server]
                for way in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, sent: bool) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if sent and self.cut_at and self.cut_at in data:
                    self.cut()
                    return
                while self.hangs:
                    time.sleep(0.05)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
