"""Start a server on a core of its own, know when it is ready, what it costs, and stop it."""

import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cores import pinned
from course.interrupts import uninterrupted

ROOT = Path(__file__).resolve().parents[1]
IDLE = 0.03  # CPU seconds within IDLE_WINDOW; the system counts in hundredths
IDLE_WINDOW = 0.7  # longer than the pauses of our recorder


class StartError(Exception):
    """A server ended before it was ready, or took too long."""


@dataclass(frozen=True)
class Server:
    """A process, its children and their port."""

    process: psutil.Process
    port: int
    log: Path

    def tree(self) -> list[psutil.Process]:
        """The process and everything that it has started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time of the tree until now."""
        return sum(sum(process.cpu_times()[:2]) for process in self.tree())

    def resident_mb(self) -> float:
        """Resident memory of the tree."""
        return sum(process.memory_info().rss for process in self.tree()) / 1e6

    def settle(self) -> None:
        """Wait until it has nothing left to do, 20 seconds at the most."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(IDLE_WINDOW)
            if self.cpu_seconds() - before <= IDLE:
                return

    def wait_until(self, path: str, seconds: float) -> None:
        """Wait until GET `path` answers 200.

        Raises:
            StartError: the process ended, or the time is over; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not answers(self.port, path):
            over = time.monotonic() > deadline
            if over or not self.process.is_running() or _is_dead(self.process):
                lines = self.log.read_text(errors="replace").strip().splitlines() or ["no output"]
                why = f"not ready after {seconds:g} s" if over else "it ended"
                raise StartError(f"{why}: {lines[-1][:200]}")
            time.sleep(0.002)


@contextmanager
def started(
    command: Sequence[str],
    environ: dict[str, str],
    port: int,
    core: int | None,
    log: Path,
    cwd: Path = ROOT,
) -> Iterator[Server]:
    """Run `command` on `core`; in the end its whole tree is stopped."""
    with log.open("wb") as output, pinned(core):
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=cwd,
            start_new_session=True,  # a Ctrl-C is for us; we stop it
        )
    server = Server(psutil.Process(child.pid), port, log)
    try:
        yield server
    finally:
        with uninterrupted():
            _stop(server)
            child.wait()


def answers(port: int, path: str) -> bool:
    """Whether GET `path` is answered with 200."""
    return get(port, path) is not None


def get(port: int, path: str) -> str | None:
    """What GET `path` answers, None unless it is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):  # nobody there yet
        return None
    finally:
        connection.close()


def environment_first(folder: Path) -> dict[str, str]:
    """A PATH on which the programs in `folder` come first."""
    return {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}


def _is_dead(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def _stop(server: Server) -> None:
    try:
        processes = server.tree()
    except psutil.NoSuchProcess:
        return
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=10)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
