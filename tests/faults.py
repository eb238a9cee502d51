"""Trouble on demand: a relay that cuts a connection at COMMIT, a PostgreSQL that can be killed."""

import contextlib
import os
import random
import signal
import socket
import threading
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
