"""Start, watch and stop the embedded services: order, readiness, logs, recovery, shutdown."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psutil

from course import env_file, pointing, ports, processes
from course.config import Config, load_config
from course.errors import CourseError
from course.home import Home
from course.interrupts import uninterrupted
from course.services import SERVICES, make_services
from course.starting import Start, Started, problem
from course.stopping import stop_service

LOCK_SECONDS = 150.0  # longer than the slowest start, so that a second `up` waits for the first
NEEDED_DISK = 300 * 1024**2  # a fresh PostgreSQL cluster with its log and MLflow's tables


class State(StrEnum):
    """What `course status` says of a service."""

    RUNNING = "running"
    SILENT = "does not answer"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Status:
    """One row of `course status`; `memory` in bytes, `problem` of one that does not answer."""

    name: str
    state: State
    address: str
    memory: int
    log: str
    problem: str


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
        cancelled = self._cancelled
        with self._lock(cancelled):
            self._check_disk()
            alive = {name: processes.running(self.home, name) for name in SERVICES}
            stack = {name: record.port for name, record in alive.items() if record}
            holders: dict[str, str] = {}
            for name in names:
                if name not in stack:
                    wanted = self.services[name].preferred_port
                    stack[name] = ports.choose(wanted, not_these=set(stack.values()))
                    if stack[name] != wanted:
                        holders[name] = ports.holder(wanted)
            self._write_env_file(stack)
            fit = [
                name for name, record in alive.items() if record and self._fits(record, name, stack)
            ]
            starts = {
                name: Start(
                    service=self.services[name],
                    ports=stack,
                    reused=name in fit,
                    ran_before=alive[name] is not None,
                    holder=holders.get(name),
                    cancelled=cancelled,
                    spawning=self._spawning,
                )
                for name in self._with_stranded(names, alive, fit)
            }
            try:
                self._run(starts, report)
            except BaseException:
                with uninterrupted():
                    self.cancel()
                    self._cancelled = threading.Event()  # the next `up` begins afresh
                    self._stop([n for n, start in starts.items() if start.to_be_stopped])
                raise
            return stack

    def cancel(self) -> None:
        """Make a running `up` give up soon; no process is started after this."""
        with self._spawning:
            self._cancelled.set()

    def stop(self, names: Sequence[str]) -> list[str]:
        """Stop some services and return the names of those that ran."""
        if not names:
            return []
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
        """What every service does right now; nothing is changed by asking."""
        records = {name: processes.running(self.home, name) for name in SERVICES}
        stack = {name: record.port for name, record in records.items() if record}
        rows = []
        for name, service in self.services.items():
            record = records[name]
            said = problem(service, stack) if record else None
            state = State.STOPPED
            if record:
                state = State.SILENT if said else State.RUNNING
            members = processes.of_service(self.home, name, service.owns) if record else []
            rows.append(
                Status(
                    name,
                    state,
                    service.address(record.port) if record else "",
                    processes.memory(members),
                    str(self.home.log(name)),
                    said or "",
                )
            )
        return rows

    def misleading_variables(self, stack: Mapping[str, int]) -> list[str]:
        """Warnings on variables that send the parts' scripts elsewhere than to `stack`."""
        own = env_file.own_lines(self.home.env_file)
        return pointing.misleading(self.services, stack, own, os.environ)

    def _fits(self, record: processes.RunRecord, name: str, stack: dict[str, int]) -> bool:
        """Whether a service that runs was started with what it would be started with now."""
        service = self.services[name]
        if any(need not in stack for need in service.needs):
            return True  # what it needs is down and not wanted now; nothing is known to be wrong
        return record.fingerprint == processes.fingerprint(service.environment(stack))

    def _with_stranded(
        self, names: Sequence[str], alive: dict[str, processes.RunRecord | None], fit: list[str]
    ) -> list[str]:
        """`names`, and what runs but would look in vain for one of them, with all that it needs."""
        wanted = set(names)
        for name, service in self.services.items():
            begins_anew = {need for need in service.needs if need in names and not alive[need]}
            if alive[name] and name not in fit and begins_anew:
                wanted |= {name, *service.needs}
        return [name for name in SERVICES if name in wanted]

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
        stopped = [name for name in reversed(names) if stop_service(self.services[name])]
        records = {name: processes.running(self.home, name) for name in SERVICES}
        self._write_env_file({name: record.port for name, record in records.items() if record})
        return stopped

    def _write_env_file(self, stack: dict[str, int]) -> None:
        """Tell the parts' scripts about servers that are not where they look by themselves."""
        own = env_file.own_lines(self.home.env_file)
        env_file.write_block(self.home.env_file, pointing.block(self.services, stack, own))

    def _check_disk(self) -> None:
        self.home.path.mkdir(parents=True, exist_ok=True)
        free = psutil.disk_usage(str(self.home.path)).free
        if free < NEEDED_DISK:
            raise CourseError(
                f"only {free // 1024**2} MB are free where {self.home.path} is; the services need "
                f"{NEEDED_DISK // 1024**2} MB: free some space and start again"
            )

    @contextmanager
    def _lock(self, cancelled: threading.Event | None = None) -> Iterator[None]:
        from filelock import FileLock, Timeout  # `course --help` need not wait

        self.home.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.home.lock_file)
        another = f"another `course` command is starting or stopping services in {self.home.path}"
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            print(f"{another}: waiting for it", file=sys.stderr, flush=True)
            try:
                held = lock.acquire(
                    LOCK_SECONDS, cancel_check=cancelled.is_set if cancelled else None
                )
            except Timeout:
                if cancelled and cancelled.is_set():
                    raise CourseError("the start was given up") from None
                raise CourseError(f"{another}: wait for it, or end it, and try again") from None
        with held:
            yield


def _remove(home: Home) -> None:
    failed: list[str] = []

    def keep(_: object, path: str, __: BaseException) -> None:
        failed.append(path)

    for folder in ("data", "logs", "run", "bytecode"):
        if (home.path / folder).exists():
            shutil.rmtree(home.path / folder, onexc=keep)
    if failed:
        raise CourseError(
            f"the servers are stopped, but {failed[0]} could not be removed; remove {home.path} "
            "yourself, with the rights of whoever made it"
        )
