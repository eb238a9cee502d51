"""What `course up`, `down`, `status` and `logs` print."""

import os
import time
from collections.abc import Mapping

from rich.console import Console

from course.errors import CourseUsageError
from course.home import find_home
from course.services import SERVICES, named
from course.services.base import Service
from course.starting import Started
from course.supervisor import State, Supervisor

_WIDTH = max(map(len, SERVICES))


def show_start(part: str | None) -> None:
    """Start what `part` stands for; a line for each service as it answers."""
    names = named(part)
    console = Console()
    supervisor = Supervisor(find_home())
    with console.status(f"starting {', '.join(names)} ..."):
        stack = supervisor.up(names, report=lambda news: console.print(start_line(news)))
    for warning in misleading_variables(supervisor.services, stack):
        console.print(f"[yellow]![/] {warning}", soft_wrap=True)
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
        console.print("data and logs removed")


def show_status() -> None:
    """A table of all services."""
    console = Console(soft_wrap=True)  # addresses and paths are for copying: never cut them
    styles = {State.RUNNING: "green", State.SILENT: "red", State.STOPPED: "dim"}
    rows = [("service", "state", "address", "memory", "log")]
    for row in Supervisor(find_home()).status():
        memory = f"{row.memory / 1024**2:.0f} MB" if row.memory else "-"
        rows.append((row.name, row.state, row.address or "-", memory, _short(row.log)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)]
        if line[1] in styles:
            cells[1] = f"[{styles[State(line[1])]}]{cells[1]}[/]"
        console.print("  ".join(cells).rstrip(), highlight=False)


def show_log(name: str, *, follow: bool, lines: int) -> None:
    """The last `lines` lines of a log; with `follow`, what comes after them until Ctrl-C."""
    if name not in SERVICES:
        raise CourseUsageError(f"there is no service {name!r}; services: {', '.join(SERVICES)}")
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
    if news.moved_from:
        line += (
            f"\n[yellow]![/] port {news.moved_from} is held by {news.holder}, so {news.name} "
            f"listens on {news.port}; the parts' scripts read that from .env"
        )
    return line


def misleading_variables(services: Mapping[str, Service], stack: Mapping[str, int]) -> list[str]:
    """Exported variables that send the parts' scripts somewhere else than to this stack."""
    warnings = []
    for name, port in stack.items():
        for variable, value in services[name].settings(port).items():
            exported = os.environ.get(variable, value)
            if exported.replace("127.0.0.1", "localhost").rstrip("/") != value:
                warnings.append(
                    f"{variable}={exported} is exported in this shell, so the parts' scripts will "
                    f"not look for {name} at {value}; `unset {variable}` mends it"
                )
    return warnings


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path
