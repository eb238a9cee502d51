"""What `course up`, `down`, `status` and `logs` print."""

import os
import time

from rich.console import Console
from rich.markup import escape

from course import processes
from course.errors import CourseError, CourseUsageError
from course.home import find_home
from course.services import SERVICES, named, suggestion
from course.starting import Started
from course.supervisor import State, Supervisor

_WIDTH = max(map(len, SERVICES))


def show_start(part: str | None) -> None:
    """Start what `part` stands for; a line for each service as it answers."""
    names = named(part)
    console = Console(soft_wrap=True)
    supervisor = Supervisor(find_home())
    try:
        with console.status(f"starting {', '.join(names)} ..."):
            stack = supervisor.up(names, report=lambda news: console.print(start_line(news)))
    except KeyboardInterrupt:
        console.print("what this command had started is stopped again")
        raise
    for warning in supervisor.misleading_variables(stack):
        console.print(f"[yellow]![/] {escape(warning)}")
    console.print("`uv run course status` shows them, `uv run course down` stops them", style="dim")


def show_stop(*, wipe: bool) -> None:
    """Stop everything."""
    console = Console()
    with console.status("stopping ..."):
        stopped = Supervisor(find_home()).down(wipe=wipe)
    for name in stopped:
        console.print(f"[green]✓[/] {name} stopped")
    if not stopped:
        console.print("nothing was running")
    if wipe:
        console.print("data and logs removed: tables, registry and its models; artifacts/ stays")


def show_status() -> None:
    """A table of all services."""
    console = Console(soft_wrap=True)  # addresses and paths are for copying: never cut them
    styles = {State.RUNNING: "green", State.SILENT: "red", State.STOPPED: "dim"}
    rows = [("service", "state", "address", "memory", "log")]
    found = Supervisor(find_home()).status()
    for row in found:
        memory = f"{row.memory / 1024**2:.0f} MB" if row.memory else "-"
        rows.append((row.name, row.state, row.address or "-", memory, _short(row.log)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        cells = [escape(f"{cell:<{width}}") for cell, width in zip(line, widths, strict=True)]
        if line[1] in styles:
            cells[1] = f"[{styles[State(line[1])]}]{cells[1]}[/]"
        console.print("  ".join(cells).rstrip(), highlight=False)
    for row in found:
        if row.problem:
            console.print(f"[yellow]![/] {row.name}: {escape(row.problem)}", highlight=False)


def show_pid(name: str) -> None:
    """The process id of a service that runs."""
    _check_service(name)
    record = processes.running(find_home(), name)
    if record is None:
        raise CourseError(f"{name} does not run; start it with `uv run course up {name}`")
    print(record.pid)


def show_log(name: str | None, *, follow: bool, lines: int) -> None:
    """The last `lines` lines of a log; with `follow`, what comes after them until Ctrl-C."""
    if name is None:
        raise CourseUsageError(f"say whose log: {', '.join(SERVICES)}")
    _check_service(name)
    path = find_home().log(name)
    if not path.exists():
        raise CourseUsageError(f"{name} has not run yet; start it with `uv run course up {name}`")
    with path.open(encoding="utf-8", errors="replace") as log:
        print("".join(log.readlines()[-lines:] if lines else []), end="", flush=True)
        while follow:
            try:
                print(log.read(), end="", flush=True)
                time.sleep(0.2)
            except KeyboardInterrupt:
                return


def start_line(news: Started) -> str:
    """One line on a service that answers, and another when it had to move."""
    how = "runs already" if news.reused else f"{news.seconds:.1f} s"
    line = f"[green]✓[/] {news.name:<{_WIDTH}}  {news.address}  [dim]{how}[/]"
    if news.holder:
        line += (
            f"\n[yellow]![/] port {news.preferred_port} is held by {escape(news.holder)}, so "
            f"{news.name} listens on {news.port}; the parts' scripts read that from .env"
        )
    elif news.port != news.preferred_port:
        line += (
            f"\n[yellow]![/] it stays on {news.port}, where it was started; `uv run course down` "
            f"and `uv run course up` give it {news.preferred_port} if that is free now"
        )
    return line


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def _check_service(name: str) -> None:
    if name not in SERVICES:
        raise CourseUsageError(
            f"there is no service {name!r}{suggestion(name, SERVICES)}; "
            f"services: {', '.join(SERVICES)}"
        )
