"""What the supervisor asks of a service."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import psutil

from course.config import Config
from course.home import Home

Ports = Mapping[str, int]  # of all services in the stack, by service name


class NotReadyError(Exception):
    """The service does not answer yet; the message is its last word."""


class Service(ABC):
    """One server process: how to prepare, start, ask, explain and stop it."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    start_seconds: ClassVar[float] = 60.0  # a slow laptop's first start, with room
    stop_seconds: ClassVar[float] = 5.0  # after that it is killed

    def __init__(self, home: Home, config: Config) -> None:
        self.home = home
        self.config = config

    @property
    @abstractmethod
    def preferred_port(self) -> int:
        """The port that lessons and compose files name."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder if it is not there; called before every start."""

    @abstractmethod
    def command(self, ports: Ports) -> list[str]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def probe(self, ports: Ports) -> None:
        """Ask the server as a client would, and change nothing.

        Raises:
            NotReadyError: no answer, or not the right one yet.
            CourseError: it answers, and waiting will not make the answer a better one.
        """

    def provision(self, ports: Ports) -> None:  # noqa: B027 - most need nothing
        """Make what clients expect to find, where it is missing; only `up` calls this.

        Raises:
            NotReadyError: not now; asking again may help.
            CourseError: it cannot be made.
        """

    @abstractmethod
    def address(self, port: int) -> str:
        """Where the server listens, for people to read."""

    @abstractmethod
    def settings(self, port: int) -> dict[str, str]:
        """The variables that point the parts' scripts to this server."""

    def environment(self, ports: Ports) -> dict[str, str]:  # noqa: ARG002 - part of the interface
        """Variables of the server process, on top of the learner's own."""
        return {}

    def explain(self, log: str) -> str | None:  # noqa: ARG002 - part of the interface
        """What the end of a log means and what to do, where that is known."""
        return None

    def owns(self, process: psutil.Process) -> bool:  # noqa: ARG002 - part of the interface
        """Whether a process is this service's although it lost the mark in its environment."""
        return False

    def stop(self, pid: int) -> None:
        """Ask the server to finish."""
        os.kill(pid, signal.SIGTERM)
