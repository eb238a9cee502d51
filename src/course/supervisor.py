"""Start, watch and stop the embedded services: order, readiness, logs, recovery, shutdown."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psutil

from course import env_file, ports, processes
from course.config import Config, load_config
from course.errors import CourseError
from course.home import Home
from course.services import SERVICES, make_services
from course.services.base import Service
from course.starting import Start, Started, answers

LOCK_SECONDS = 150.0  # longer than the slowest start, so that a second `up` waits for the first
NEEDED_DISK = 300 * 1024**2  # a fresh PostgreSQL cluster with its log and MLflow's tables


_ENDINGS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


class State(StrEnum):
    """What `course status` says of a service."""

    RUNNING = "running"
    SILENT = "does not answer"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Status:
    """One row of `course status`; `memory` in bytes."""

    name: str
    state: State
    address: str
    memory: int
    log: str


class Supervisor:
    """The embedded stack of one home."""

    def __init__(self, home: Home, config: Config | None = None) -> None:
        self.home = home
        self.config = config or load_config(home)
        self.services = make_services(home, self.config)
        self._cancelled = threading.Event()
        self._spawning = threading.Lock()

    def up(
        self, names: Sequence[str], report: Callable[[Started], None] = lambda _: None
    ) -> dict[str, int]:
        """Start services side by side and return their ports when every one answers.

        A service that runs already is reused. On a failure or an interrupt, the services that
        this call started are stopped again.

        Raises:
            CourseError: a service cannot start; the message names the cause and the remedy.
        """
        self._cancelled.clear()
        with self._lock():
            self._check_disk()
            alive = {name: processes.running(self.home, name) for name in SERVICES}
            stack = {name: record.port for name, record in alive.items() if record}
            moved: dict[str, tuple[int, str]] = {}
            for name in names:
                if name not in stack:
                    wanted = self.services[name].preferred_port
                    stack[name] = ports.choose(wanted, not_these=set(stack.values()))
                    if stack[name] != wanted:
                        moved[name] = (wanted, ports.holder(wanted))
            self._write_env_file(stack)
            starts = {
                name: Start(
                    service=self.services[name],
                    ports=stack,
                    reused=alive[name] is not None,
                    moved=moved.get(name),
                    cancelled=self._cancelled,
                    spawning=self._spawning,
                )
                for name in names
            }
            try:
                self._run(starts, report)
            except BaseException:
                with uninterrupted():
                    self.cancel()
                    self._stop([n for n, start in starts.items() if not start.reused])
                raise
            return stack

    def cancel(self) -> None:
        """Make a running `up` give up soon; no process is started after this."""
        with self._spawning:
            self._cancelled.set()

    def stop(self, names: Sequence[str]) -> list[str]:
        """Stop some services and return the names of those that ran."""
        with self._lock(), uninterrupted():
            return self._stop([name for name in SERVICES if name in names])

    def down(self, *, wipe: bool = False) -> list[str]:
        """Stop everything that belongs to this home and return the names of what ran.

        With `wipe`, remove the services' data and logs too.
        """
        with self._lock(), uninterrupted():
            stopped = self._stop(list(SERVICES))
            processes.end(processes.owned(self.home))
            if wipe:
                _remove(self.home)
            return stopped

    def status(self) -> list[Status]:
        """What every service does right now."""
        records = {name: processes.running(self.home, name) for name in SERVICES}
        stack = {name: record.port for name, record in records.items() if record}
        rows = []
        for name, service in self.services.items():
            record = records[name]
            state = State.STOPPED
            if record:
                state = State.RUNNING if answers(service, stack) else State.SILENT
            members = processes.of_service(self.home, name, service.owns) if record else []
            rows.append(
                Status(
                    name,
                    state,
                    service.address(record.port) if record else "",
                    processes.memory(members),
                    str(self.home.log(name)),
                )
            )
        return rows

    def _run(self, starts: dict[str, "Start"], report: Callable[[Started], None]) -> None:
        pool = ThreadPoolExecutor(len(starts))
        try:
            waiting = {pool.submit(start.run, starts) for start in starts.values()}
            while waiting:
                done = {future for future in waiting if future.done()}
                for future in done:
                    report(future.result())
                waiting -= done
                time.sleep(0.02)
        finally:
            pool.shutdown(wait=False)

    def _stop(self, names: Sequence[str]) -> list[str]:
        stopped = []
        for name in reversed(names):
            service = self.services[name]
            record = processes.running(self.home, name)
            if record:
                stopped.append(name)
                self._stop_gently(service, record.pid)
            # Whatever a crash left behind: workers without their server, a half-done start.
            left_over = processes.of_service(self.home, name, service.owns)
            if left_over and name not in stopped:
                stopped.append(name)
            processes.end(left_over, seconds=1.0)
            self.home.run_record(name).unlink(missing_ok=True)
        records = {name: processes.running(self.home, name) for name in SERVICES}
        self._write_env_file({name: record.port for name, record in records.items() if record})
        return stopped

    def _stop_gently(self, service: Service, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            service.stop(pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return
        processes.wait([process], service.stop_seconds)

    def _write_env_file(self, stack: dict[str, int]) -> None:
        """Tell the parts' scripts about ports that are not where they look by themselves."""
        values: dict[str, str] = {}
        for name, port in stack.items():
            if port != self.services[name].preferred_port:
                values |= self.services[name].settings(port)
        env_file.write_block(self.home.env_file, values)

    def _check_disk(self) -> None:
        self.home.path.mkdir(parents=True, exist_ok=True)
        free = psutil.disk_usage(str(self.home.path)).free
        if free < NEEDED_DISK:
            raise CourseError(
                f"only {free // 1024**2} MB are free where {self.home.path} is; the services need "
                f"{NEEDED_DISK // 1024**2} MB: free some space and start again"
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock, Timeout  # `course --help` need not wait

        self.home.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.home.lock_file, timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise CourseError(
                f"another `course` command is still starting or stopping services in "
                f"{self.home.path}; wait for it, or end it, and try again"
            ) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not break off the stopping that the first one began."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _remove(home: Home) -> None:
    import shutil

    for folder in ("data", "logs", "run", "bytecode"):
        shutil.rmtree(home.path / folder, ignore_errors=True)
