"""`course demo`: the lessons' own commands, one after the other, on the embedded stack.

The servers start in the background, and a step runs as soon as those it needs answer: MLflow's
imports and the first two parts share the time.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from course import processes
from course.errors import CourseError
from course.home import Home, find_home, repository
from course.interrupts import deferred, uninterrupted
from course.services import PARTS, SERVICES
from course.stack_view import start_line
from course.starting import Started
from course.steps import STEPS, Step
from course.supervisor import Supervisor

SHOWN_LINES = 8  # of what a step printed; the command itself prints the rest


def run_demo(*, keep: bool, steps: Sequence[Step] = STEPS) -> None:
    """Start the servers, run the steps, print a summary, and stop what was started.

    Raises:
        CourseError: a server did not start, or a step failed.
    """
    begun = time.monotonic()
    console = Console()
    console.print("[bold]MLOps for MLE[/]: from the database to a prediction\n")
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    servers = _Servers(console, steps)
    facts: dict[str, str] = {}
    stays = interrupted = False
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("starting the servers", total=len(steps))
            servers.start()
            for step in steps:
                servers.wait_for(PARTS[step.part])
                progress.update(bar, description=step.title)
                facts |= _run(step, servers, console)
                progress.advance(bar)
        stays = keep
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        with uninterrupted():
            if not stays:
                servers.stop()
            if interrupted:
                console.print("\nwhat the demo had started is stopped again")
    _summarise(console, facts, time.monotonic() - begun)
    _say_what_next(console, servers, stays=stays)


class _Servers:
    """The servers that the steps need, on their way up in the background."""

    def __init__(self, console: Console, steps: Sequence[Step]) -> None:
        self.home: Home = find_home()
        self.started: dict[str, Started] = {}
        self._supervisor = Supervisor(self.home)
        self._names = [n for n in SERVICES if any(n in PARTS[step.part] for step in steps)]
        self._console = console
        self._pool = ThreadPoolExecutor(1)
        self._news = threading.Condition()
        self._up: Future[dict[str, int]] | None = None

    def start(self) -> None:
        """Start them all, side by side."""
        self._up = self._pool.submit(self._supervisor.up, self._names, self._hear)
        self._up.add_done_callback(lambda _: self._tell())

    def wait_for(self, names: Sequence[str]) -> None:
        """Wait until these answer; raise what kept them from it."""
        with self._news:
            while not all(name in self.started for name in names):
                if self._up is not None and self._up.done():
                    self._up.result()
                self._news.wait(timeout=0.5)

    def stop(self) -> None:
        """Stop those that this demo started."""
        if self._up is not None:
            self._supervisor.cancel()
            self._up.exception()  # waits; a start that was broken off has cleaned up after itself
        self._pool.shutdown()
        self._supervisor.stop([n for n, news in self.started.items() if not news.ran_before])

    def environ(self) -> dict[str, str]:
        """The settings that point a step's script at these servers."""
        values = {"POSTGRES_HOST": "localhost"}
        for name, news in self.started.items():
            values |= self._supervisor.services[name].settings(news.port)
        return values

    def _hear(self, news: Started) -> None:
        self._console.print(start_line(news), soft_wrap=True)
        with self._news:
            self.started[news.name] = news
            self._news.notify_all()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()


def _run(step: Step, servers: _Servers, console: Console) -> dict[str, str]:
    """Run one step, show what matters of it, and return the facts for the summary."""
    begun = time.monotonic()
    # `uv run python` is this interpreter already; asking uv again would only cost time.
    command = [sys.executable, *step.command.removeprefix("uv run python ").split()]
    environment = (
        processes.child_environment(servers.home)
        | servers.environ()
        | processes.marks(servers.home, "demo")
        | {
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",  # what is read below
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
    )
    process = None
    try:
        with deferred():
            process = subprocess.Popen(
                command,
                cwd=repository(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        output, _ = process.communicate()
    except BaseException:
        with uninterrupted():
            processes.end(processes.of_service(servers.home, "demo", lambda _: False))
            if process is not None:
                process.communicate()
        raise
    seconds = time.monotonic() - begun
    failed = process.returncode != 0
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    shown = lines if failed else [line for line in lines if re.search(step.shows, line)]
    mark = "[red]✗[/]" if failed else "[green]✓[/]"
    console.print(f"\n{mark} [bold]{step.part}[/] {step.title}  [dim]{seconds:.1f} s[/]")
    console.print(f"  [cyan]$ {escape(step.command)}[/]", highlight=False, soft_wrap=True)
    for line in shown[-SHOWN_LINES:]:
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    if failed:
        raise CourseError(f"`{step.command}` ended with exit status {process.returncode}")
    return {
        name: found.group(1).strip()
        for name, pattern in step.facts.items()
        if (found := re.search(pattern, output))
    }


def _summarise(console: Console, facts: dict[str, str], seconds: float) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(name, f"[bold]{escape(value)}[/]")
    table.add_row("total time", f"[bold]{seconds:.1f} s[/]")
    console.print()
    console.print(table)


def _say_what_next(console: Console, servers: _Servers, *, stays: bool) -> None:
    running = {n: each for n, each in servers.started.items() if stays or each.ran_before}
    stopped = {n: each for n, each in servers.started.items() if n not in running}
    if running:
        console.print("\nThese servers run; open:")
        _list_addresses(console, running)
    if stopped:
        console.print("\nThese servers are stopped; after")
        console.print("  uv run course up", style="cyan")
        console.print("open:")
        _list_addresses(console, stopped)
    console.print(
        "\nGo on with part1/README.md. To see the very numbers of the lessons, empty the database "
        "first:",
        soft_wrap=True,
    )
    console.print("  uv run course down --wipe", style="cyan")


def _list_addresses(console: Console, servers: Mapping[str, Started]) -> None:
    for name, news in servers.items():
        console.print(f"  {name:<22}{news.address}", highlight=False, soft_wrap=True)
