"""Start, watch and stop the embedded services: order, readiness, logs, recovery, shutdown."""

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
from course.services.base import NotReadyError, Service

LOCK_SECONDS = 150.0  # longer than the slowest start, so that a second `up` waits for the first
NEEDED_DISK = 300 * 1024**2  # a fresh PostgreSQL cluster with its log and MLflow's tables


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


@dataclass(frozen=True)
class Started:
    """News from `up`: a service answers. `moved_from` is the port that it could not have."""

    name: str
    address: str
    port: int
    seconds: float
    reused: bool
    moved_from: int | None
    holder: str | None


class Supervisor:
    """The embedded stack of one home."""

    def __init__(self, home: Home, config: Config | None = None) -> None:
        self.home = home
        self.config = config or load_config(home)
        self.services = make_services(home, self.config)
        self._cancelled = threading.Event()

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
                name: _Start(
                    service=self.services[name],
                    ports=stack,
                    reused=alive[name] is not None,
                    moved=moved.get(name),
                    cancelled=self._cancelled,
                )
                for name in names
            }
            try:
                self._run(starts, report)
            except BaseException:
                self._stop([n for n, start in starts.items() if not start.reused])
                raise
            return stack

    def cancel(self) -> None:
        """Make a running `up` give up soon."""
        self._cancelled.set()

    def down(self, *, wipe: bool = False) -> list[str]:
        """Stop everything that belongs to this home and return the names of what ran.

        With `wipe`, remove the services' data and logs too.
        """
        with self._lock():
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
                state = State.RUNNING if _answers(service, stack) else State.SILENT
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

    def _run(self, starts: dict[str, "_Start"], report: Callable[[Started], None]) -> None:
        with ThreadPoolExecutor(len(starts)) as pool:
            running = {pool.submit(start.run, starts): start for start in starts.values()}
            try:
                waiting = set(running)
                while waiting:
                    done = {future for future in waiting if future.done()}
                    for future in done:
                        report(future.result())
                    waiting -= done
                    time.sleep(0.02)
            except BaseException:
                self._cancelled.set()
                raise

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
            processes.end(left_over)
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
        processes.wait([process], seconds=20.0)  # PostgreSQL's last checkpoint may take a while

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


class _Start:
    """One service on its way up."""

    def __init__(
        self,
        service: Service,
        ports: dict[str, int],
        reused: bool,
        moved: tuple[int, str] | None,
        cancelled: threading.Event,
    ) -> None:
        self.service = service
        self.ports = ports
        self.reused = reused
        self.moved = moved
        self.cancelled = cancelled
        self.ready = threading.Event()

    def run(self, others: dict[str, "_Start"]) -> Started:
        """Start the process at once; ask it only when the services it needs answer."""
        begun = time.monotonic()
        service, name = self.service, self.service.name
        process = None
        if self.reused and not _answers(service, self.ports):
            self.reused = False  # alive but deaf: start it again
        if not self.reused:
            processes.end(processes.of_service(service.home, name, service.owns))
            service.prepare()
            process = processes.spawn(
                service.home,
                name,
                service.command(self.ports),
                service.environment(self.ports),
                self.ports[name],
            )
        for need in service.needs:
            if need in others:
                self._wait_until(others[need].ready.is_set, process, others[need].service)
        self._wait_until(lambda: _answers(service, self.ports), process, service)
        self.ready.set()
        moved_from, holder = self.moved or (None, None)
        port = self.ports[name]
        seconds = time.monotonic() - begun
        return Started(name, service.address(port), port, seconds, self.reused, moved_from, holder)

    def _wait_until(
        self, is_true: Callable[[], bool], process: psutil.Popen | None, blamed: Service
    ) -> None:
        deadline = time.monotonic() + self.service.start_seconds
        while not is_true():
            if self.cancelled.is_set():
                raise CourseError(f"the start of {self.service.name} was given up")
            if process is not None and process.poll() is not None:
                raise CourseError(self._why_it_ended())
            if time.monotonic() > deadline:
                raise CourseError(
                    f"{blamed.name} did not answer within {self.service.start_seconds:g} s; "
                    f"its log: {blamed.home.log(blamed.name)}"
                )
            time.sleep(0.05)

    def _why_it_ended(self) -> str:
        log = self.service.home.log(self.service.name)
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-20:]
        cause = self.service.explain("\n".join(lines)) or (lines[-1] if lines else "no word")
        return f"{self.service.name} ended at its start: {cause} (log: {log})"


def _answers(service: Service, stack: dict[str, int]) -> bool:
    try:
        service.probe(stack)
    except NotReadyError:
        return False
    return True


def _remove(home: Home) -> None:
    import shutil

    for folder in ("data", "logs", "run"):
        shutil.rmtree(home.path / folder, ignore_errors=True)
