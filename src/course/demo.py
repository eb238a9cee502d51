"""`course demo`: the lessons' own commands, one after the other, on the embedded stack.

The servers start in the background, and a step runs as soon as those it needs answer: MLflow's
imports and the first two parts share the time.
"""

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

from course.home import Home, find_home
from course.interrupts import uninterrupted
from course.running_steps import Runner
from course.services import SERVICES, named
from course.stack_view import start_line
from course.starting import Started
from course.steps import STEPS, Step
from course.supervisor import Supervisor


def run_demo(*, keep: bool, steps: Sequence[Step] = STEPS) -> None:
    """Start the servers, run the steps, print a summary, and stop what was started.

    Raises:
        CourseError: a server did not start, or a step failed.
    """
    begun = time.monotonic()
    console = Console()
    console.print("[bold]MLOps for MLE[/]: from the database to live predictions\n")
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    servers = _Servers(console, steps)
    runner = Runner(servers.home, console)
    facts: dict[str, str] = {}
    stays = interrupted = False
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("starting the servers", total=len(steps))
            servers.start()
            for step in steps:
                servers.wait_for(named(step.part))
                progress.update(bar, description=step.title)
                facts |= runner.run(step, servers.environ())
                progress.advance(bar)
        stays = keep
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        with uninterrupted():
            if not stays:
                runner.stop()
                servers.stop()
            if interrupted:
                console.print("\nwhat the demo had started is stopped again")
    _summarise(console, facts, time.monotonic() - begun)
    _say_what_next(console, servers, runner.addresses() if stays else {}, stays=stays)


class _Servers:
    """The servers that the steps need, on their way up in the background."""

    def __init__(self, console: Console, steps: Sequence[Step]) -> None:
        self.home: Home = find_home()
        self.started: dict[str, Started] = {}
        self._supervisor = Supervisor(self.home)
        self._names = [n for n in SERVICES if any(n in named(step.part) for step in steps)]
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


def _summarise(console: Console, facts: dict[str, str], seconds: float) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(name, f"[bold]{escape(value)}[/]")
    table.add_row("total time", f"[bold]{seconds:.1f} s[/]")
    console.print()
    console.print(table)


def _say_what_next(
    console: Console, servers: _Servers, apis: Mapping[str, str], *, stays: bool
) -> None:
    addresses = {name: news.address for name, news in servers.started.items()}
    ran_before = {name for name, news in servers.started.items() if news.ran_before}
    running = {n: each for n, each in addresses.items() if stays or n in ran_before} | {**apis}
    stopped = {n: each for n, each in addresses.items() if n not in running}
    if running:
        console.print("\nThese servers run:")
        _list_addresses(console, running)
    if stopped:
        console.print("\nThese servers are stopped:")
        _list_addresses(console, stopped)
        console.print("to have them back:")
        console.print("  uv run course up", style="cyan")
    console.print(
        "\nGo on with part1/README.md. To see the very numbers of the lessons, empty the database "
        "first:",
        soft_wrap=True,
    )
    console.print("  uv run course down --wipe", style="cyan")


def _list_addresses(console: Console, addresses: Mapping[str, str]) -> None:
    for name, address in addresses.items():
        console.print(f"  {name:<22}{address}", highlight=False, soft_wrap=True)
