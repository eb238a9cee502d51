"""One service on its way up: recover what a crash left, spawn, wait until it answers."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from course import processes
from course.errors import CourseError
from course.services.base import NotReadyError, Service

# A server whose database has just come back needs a moment to notice.
GRACE_SECONDS = 3.0


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


class Start:
    """One service on its way up."""

    def __init__(
        self,
        service: Service,
        ports: dict[str, int],
        reused: bool,
        moved: tuple[int, str] | None,
        cancelled: threading.Event,
        spawning: threading.Lock,
    ) -> None:
        self.service = service
        self.ports = ports
        self.reused = reused
        self.moved = moved
        self.cancelled = cancelled
        self.spawning = spawning
        self.ready = threading.Event()

    def run(self, others: dict[str, "Start"]) -> Started:
        """Start the process at once; ask it only when the services it needs answer."""
        begun = time.monotonic()
        service, name = self.service, self.service.name
        process = None
        if self.reused:
            self._wait_for_needs(others, process)
            self.reused = self._answers_within(GRACE_SECONDS)  # alive but deaf: start it again
        if not self.reused:
            processes.end(processes.of_service(service.home, name, service.owns))
            service.prepare()
            process = self._spawn()
            self._wait_for_needs(others, process)
        self._wait_until(lambda: answers(service, self.ports), process, service)
        self.ready.set()
        moved_from, holder = self.moved or (None, None)
        port = self.ports[name]
        seconds = time.monotonic() - begun
        return Started(name, service.address(port), port, seconds, self.reused, moved_from, holder)

    def _wait_for_needs(self, others: dict[str, "Start"], process: psutil.Process | None) -> None:
        for need in self.service.needs:
            if need in others:
                self._wait_until(others[need].ready.is_set, process, others[need].service)

    def _answers_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not answers(self.service, self.ports):
            self._give_up_if_cancelled()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _spawn(self) -> psutil.Process:
        service, name = self.service, self.service.name
        with self.spawning:
            self._give_up_if_cancelled()
            return processes.spawn(
                service.home,
                name,
                service.command(self.ports),
                service.environment(self.ports),
                self.ports[name],
            )

    def _give_up_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise CourseError(f"the start of {self.service.name} was given up")

    def _wait_until(
        self, is_true: Callable[[], bool], process: psutil.Process | None, blamed: Service
    ) -> None:
        deadline = time.monotonic() + self.service.start_seconds
        while not is_true():
            self._give_up_if_cancelled()
            if process is not None and not processes.is_alive(process):
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


def answers(service: Service, stack: dict[str, int]) -> bool:
    """Whether a service answers its probe."""
    try:
        service.probe(stack)
    except NotReadyError:
        return False
    return True
