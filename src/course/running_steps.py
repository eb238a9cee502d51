"""Run the demo's steps: one after the other, some of them beside the next ones."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from rich.console import Console
from rich.markup import escape

from course import ports, processes
from course.errors import CourseError
from course.home import Home, repository
from course.interrupts import deferred, uninterrupted
from course.steps import API_PORT, Step

SHOWN_LINES = 8  # of what a step printed; the command itself prints the rest
READY_SECONDS = 60.0


@dataclass(frozen=True)
class _Running:
    """A command that was started, and the file that its output goes to."""

    step: Step
    command: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    begun: float

    def printed(self) -> str:
        """What it has printed so far; the place where it writes on, which we share, stays."""
        file = self.output.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode("utf-8", errors="replace")


class Runner:
    """Runs steps; what goes on in the background is stopped by `stop`."""

    def __init__(self, home: Home, console: Console) -> None:
        self._home = home
        self._console = console
        self._beside: list[_Running] = []
        self._servers: list[_Running] = []
        self._port = API_PORT

    def run(self, step: Step, settings: Mapping[str, str]) -> dict[str, str]:
        """Run one step, show what matters of it, and return the facts for the summary.

        A step in the background is shown with the next one that is not.

        Raises:
            CourseError: a step failed.
        """
        try:
            running = self._start(step, settings)
            if step.ready:
                self._servers.append(running)
                self._wait_until_ready(running)
                return self._show(running)
            if step.background:
                self._beside.append(running)
                return {}
            running.process.wait()
            facts: dict[str, str] = {}
            for each in (*self._beside, running):
                each.process.wait()
                facts |= self._show(each)
            self._beside = []
            return facts
        except BaseException:
            with uninterrupted():
                self.stop()
            raise

    def stop(self) -> None:
        """End everything that a step has started."""
        processes.end(processes.of_service(self._home, "demo", lambda _: False))
        for each in (*self._beside, *self._servers):
            each.process.wait()
            each.output.close()
        self._beside, self._servers = [], []

    def addresses(self) -> dict[str, str]:
        """The servers among the steps that run now, and where they are."""
        return {"model-api": f"http://localhost:{self._port}/docs"} if self._servers else {}

    def _start(self, step: Step, settings: Mapping[str, str]) -> _Running:
        if step.ready:
            self._port = ports.choose(API_PORT)
            if self._port != API_PORT:
                self._console.print(
                    f"port {API_PORT} is taken by {ports.holder(API_PORT)}: the model API "
                    f"listens on {self._port}"
                )
        shown = step.command.replace(f"--port {API_PORT}", f"--port {self._port}")
        folder, variables, command = _split(shown)
        environment = (
            processes.child_environment(self._home)
            | dict(settings)
            | {"MODEL_API_URL": f"http://localhost:{self._port}"}
            | variables
            | processes.marks(self._home, "demo")
            | {
                "PYTHONUNBUFFERED": "1",
                "PYTHONIOENCODING": "utf-8",  # what is read below
                "COLUMNS": "100",
                "NO_COLOR": "1",
            }
        )
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the command
        begun = time.monotonic()
        with deferred():
            process = subprocess.Popen(
                command,
                cwd=repository() / folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _Running(step, shown, process, output, begun)

    def _wait_until_ready(self, running: _Running) -> None:
        address = f"http://127.0.0.1:{self._port}{running.step.ready}"
        while running.process.poll() is None:
            try:
                with urllib.request.urlopen(address, timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if time.monotonic() - running.begun > READY_SECONDS:
                    raise CourseError(
                        f"`{running.command}` does not answer after {READY_SECONDS:g} s:\n"
                        f"{running.printed()}"
                    ) from None
                time.sleep(0.05)

    def _show(self, running: _Running) -> dict[str, str]:
        step, output = running.step, running.printed()
        seconds = time.monotonic() - running.begun
        status = running.process.poll()
        expected = None if step.ready else step.exit_status
        failed = status != expected
        lines = [line.rstrip() for line in output.splitlines() if line.strip()]
        shown = lines if failed else [line for line in lines if re.search(step.shows, line)]
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        took = "" if step.background and not step.ready else f"  [dim]{seconds:.1f} s[/]"
        self._console.print(f"\n{mark} [bold]{step.part}[/] {step.title}{took}")
        self._console.print(
            f"  [cyan]$ {escape(running.command)}[/]", highlight=False, soft_wrap=True
        )
        for line in shown[-SHOWN_LINES:]:
            self._console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if failed:
            raise CourseError(f"`{running.command}` ended with exit status {status}")
        if not step.ready:
            running.output.close()
        return {
            name: found.group(1).strip()
            for name, pattern in step.facts.items()
            if (found := re.search(pattern, output))
        }


def _split(command: str) -> tuple[str, dict[str, str], list[str]]:
    """The folder it is run in, variables before a command, and the command for this interpreter.

    `uv run python` is this interpreter already; asking uv again would only cost time.
    """
    folder = ""
    if inside := re.fullmatch(r"\(cd (\S+) && (.+)\)", command):
        folder, command = inside.groups()
    words = shlex.split(command)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    if words[:3] == ["uv", "run", "python"]:
        return folder, variables, [sys.executable, *words[3:]]
    if words[:2] == ["uv", "run"]:
        return folder, variables, [sys.executable, "-m", *words[2:]]
    raise ValueError(command)
