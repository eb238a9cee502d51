"""One service on its way up: recover what a crash left, spawn, wait until it answers."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from course import processes
from course.errors import CourseError
from course.services.base import NotReadyError, Service
from course.stopping import stop_service

# A busy server, or one whose database has just come back, needs a moment.
GRACE_SECONDS = 15.0
DEAF_SECONDS = 3.0  # after that, who has not answered for so long is not asked to stop any more


@dataclass(frozen=True)
class Started:
    """News from `up`: a service answers. `holder` has the port that it would rather have."""

    name: str
    address: str
    port: int
    preferred_port: int
    seconds: float
    reused: bool
    ran_before: bool
    holder: str | None


class Start:
    """One service on its way up."""

    def __init__(
        self,
        service: Service,
        ports: dict[str, int],
        reused: bool,
        ran_before: bool,
        holder: str | None,
        cancelled: threading.Event,
        spawning: threading.Lock,
    ) -> None:
        self.service = service
        self.ports = ports
        self.reused = reused
        self.ran_before = ran_before
        self.holder = holder
        self.cancelled = cancelled
        self.spawning = spawning
        self.ready = threading.Event()
        self._begun = False  # from the moment at which a former process is no longer
        self._log_begins = 0  # where this start's lines begin in the log, in bytes
        self.last_word = ""

    def run(self, others: dict[str, "Start"]) -> Started:
        """Start the process at once; ask it only when the services it needs answer."""
        begun = time.monotonic()
        service, name = self.service, self.service.name
        process = None
        patience = None
        if self.ran_before:  # it is left in peace until its successor can start, or is not needed
            self._wait_for_needs(others, process)
        if self.reused:
            self.reused = self._answers_within(GRACE_SECONDS)
            patience = DEAF_SECONDS
        if not self.reused:
            self._begun = True
            stop_service(service, patience)
            service.prepare()
            process = self._spawn()
            self._wait_for_needs(others, process)
        self._wait_until(self._is_ready, process, self)
        self.ready.set()
        port = self.ports[name]
        return Started(
            name=name,
            address=service.address(port),
            port=port,
            preferred_port=service.preferred_port,
            seconds=time.monotonic() - begun,
            reused=self.reused,
            ran_before=self.ran_before,
            holder=self.holder,
        )

    @property
    def to_be_stopped(self) -> bool:
        """Whether a failure of the whole leaves this service down: it was, or is of no use now."""
        return self._begun and not (self.ran_before and self.ready.is_set())

    def _wait_for_needs(self, others: dict[str, "Start"], process: psutil.Process | None) -> None:
        for need in self.service.needs:
            if need in others:
                self._wait_until(others[need].ready.is_set, process, others[need])

    def _answers_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._give_up_if_cancelled()
            with contextlib.suppress(NotReadyError):
                self.service.probe(self.ports)
                return True
            time.sleep(0.1)
        return False

    def _spawn(self) -> psutil.Process:
        service, name = self.service, self.service.name
        log = service.home.log(name)
        self._log_begins = log.stat().st_size if log.exists() else 0
        with self.spawning:
            self._give_up_if_cancelled()
            return processes.spawn(
                service.home,
                name,
                service.command(self.ports),
                service.environment(self.ports),
                self.ports[name],
            )

    def _is_ready(self) -> bool:
        try:
            self.service.probe(self.ports)
            self.service.provision(self.ports)
        except NotReadyError as exc:
            self.last_word = str(exc).strip().replace("\n", " ")
            return False
        return True

    def _give_up_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise CourseError(f"the start of {self.service.name} was given up")

    def _wait_until(
        self, is_true: Callable[[], bool], process: psutil.Process | None, blamed: "Start"
    ) -> None:
        deadline = time.monotonic() + self.service.start_seconds
        while not is_true():
            self._give_up_if_cancelled()
            if process is not None and not processes.is_alive(process):
                raise CourseError(self._why_it_ended())
            if time.monotonic() > deadline:
                name, word = blamed.service.name, blamed.last_word
                raise CourseError(
                    f"{name} did not answer within {self.service.start_seconds:g} s"
                    f"{f' ({word})' if word else ''}; its log: {blamed.service.home.log(name)}"
                )
            time.sleep(0.05)

    def _why_it_ended(self) -> str:
        log = self.service.home.log(self.service.name)
        printed = log.read_bytes()[self._log_begins :].decode("utf-8", errors="replace")
        lines = printed.strip().splitlines()[-20:]
        cause = self.service.explain("\n".join(lines)) or (lines[-1] if lines else "no word")
        return f"{self.service.name} ended at its start: {cause} (log: {log})"


def problem(service: Service, stack: dict[str, int]) -> str | None:
    """What keeps a service from answering its probe as it should; None if nothing does."""
    try:
        service.probe(stack)
    except (NotReadyError, CourseError) as exc:
        return str(exc).strip().replace("\n", " ")
    return None
