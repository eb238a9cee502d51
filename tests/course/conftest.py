"""A `course` command with a home and ports of its own."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from course import ports, processes
from course.home import Home
from tests.conftest import ROOT, clean_environment, run_as_module
from tests.waiting import PATIENCE, wait_for

# Signals by name: Windows has neither most of them nor a way to send one to another program.
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send such a signal")
# Who holds a port that a test has taken: macOS tells that to root only.
HOLDER = "another program" if sys.platform == "darwin" else "python"


@contextmanager
def taken(port: int | str) -> Iterator[None]:
    """Listen on a port, as soon as whoever had it is gone."""
    wait_for(lambda: ports.is_free(int(port)))
    with socket.create_server(("127.0.0.1", int(port))):
        yield


class Course:
    """Runs `course` as a learner does, in a folder that no other test uses."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / ".course")
        self.variables: dict[str, str] = {"COURSE_HOME": str(self.home.path)}
        taken: set[int] = set()
        for name in (
            "POSTGRES_PORT",
            "S3_PORT",
            "MLFLOW_PORT",
            "TUTOR_PORT",
            "CHAT_PORT",
            "DEMO_PORT",
        ):
            # Below the ephemeral range, and apart from what other workers choose.
            port = ports.choose(random.randint(20_000, 32_000), not_these=taken)
            taken.add(port)
            self.variables[name] = str(port)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start `course ARGS` and go on."""
        return subprocess.Popen(
            [sys.executable, "-m", "course", *args],
            cwd=ROOT,
            env=clean_environment() | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def interrupt(
        self, process: subprocess.Popen[str], signal_name: str, once: Callable[[str], bool]
    ) -> str:
        """Send a signal as soon as `once` holds of what was printed so far, and return all of it.

        `once` is asked again and again, also when nothing new was printed.
        """
        printed: list[str] = []
        reader = threading.Thread(target=lambda: printed.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        deadline = time.monotonic() + PATIENCE
        while not once("".join(printed)):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the moment for the signal did not come: {printed}")
            time.sleep(0.01)
        process.send_signal(getattr(signal, signal_name))
        process.wait(timeout=PATIENCE)
        reader.join()
        return "".join(printed)

    def has_spawned(self, service: str) -> bool:
        """Whether the process of a service has been started."""
        return self.home.run_record(service).exists()

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `course ARGS` to its end."""
        return run_as_module("course", args, self.variables)

    def ok(self, *args: str) -> str:
        """Run `course ARGS`, which must succeed, and return what it printed."""
        done = self.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def connect(self, port: int | None = None) -> psycopg.Connection:
        """A connection to this course's PostgreSQL, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1",
            port=port or int(self.variables["POSTGRES_PORT"]),
            user="myuser",
            password="mypassword",
            dbname="mydatabase",
            autocommit=True,
        )

    def pid(self, service: str) -> int:
        """The process id of a running service."""
        record = processes.running(self.home, service)
        assert record is not None, f"{service} does not run"
        return record.pid

    def kill(self, service: str) -> None:
        """`kill -9` of a service."""
        psutil.Process(self.pid(service)).kill()

    def left_over(self) -> list[psutil.Process]:
        """Processes that work for this home: by their mark, or in its folders."""
        return processes.owned(self.home, also=self._works_here)

    def nothing_is_left(self, within: float = 0.0) -> bool:
        """Whether no process of this home is alive."""
        deadline = time.monotonic() + within
        while self.left_over() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.left_over()

    def _works_here(self, process: psutil.Process) -> bool:
        try:
            return Path(process.cwd()).is_relative_to(self.home.path)
        except (psutil.Error, OSError):
            return False


@pytest.fixture
def course(tmp_path: Path) -> Iterator[Course]:
    """A course of one's own; whatever still runs afterwards is stopped."""
    made = Course(tmp_path)
    yield made
    made.run("down", "--wipe")
    assert made.nothing_is_left()
