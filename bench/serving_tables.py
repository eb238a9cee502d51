"""The tables that bench/serving.py prints, one per question."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Row:
    """One line: what was measured, each repetition, and what was asked of it."""

    what: str
    values: Sequence[float] = ()
    digits: int = 0
    asked: str = ""
    found: str = ""
    reached: bool | None = None
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """The answer to one question."""

    title: str
    unit: str
    rows: list[Row]


@dataclass
class Report:
    """Everything that was found."""

    versions: dict[str, str]
    server_core: int | None
    load_core: int | None
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)
    failed: dict[str, str] = field(default_factory=dict)  # peers that could not be measured
    peers: dict[str, dict[str, str]] = field(default_factory=dict)  # the versions they run with
    tables: list[Table] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)

    def show(self) -> None:
        """Print all tables."""
        # Wide enough for every column also where the output is no terminal.
        console = Console(width=None if Console().is_terminal else 160)
        for table in self.tables:
            console.print(_rich(table))
        for line in self._circumstances():
            console.print(line, highlight=False)

    def document(self) -> dict[str, object]:
        """The same as JSON, with every figure behind it."""
        return {
            "versions": self.versions,
            "circumstances": self._circumstances(),
            "peers": self.peers,
            "failed": self.failed,
            "tables": [asdict(table) for table in self.tables],
            "raw": self.raw,
        }

    def _circumstances(self) -> list[str]:
        bound = (
            f"servers bound to core {self.server_core}, load and PostgreSQL to {self.load_core}"
            if self.server_core is not None
            else "not bound to cores: this system has no such call"
        )
        if self.server_core is not None and self.server_core == self.load_core:
            bound += ": THE SAME ONE, these figures are not comparable"
        before, after = (", ".join(f"{x:.1f}" for x in y) for y in (self.load_before, _load()))
        cores = os.cpu_count() or 1
        busy = ": NOT A QUIET MACHINE" if self.load_before[0] > cores / 2 else ""
        return [
            f"{cores} cores; {bound}",
            f"load average before {before}{busy}, after {after} (1, 5, 15 minutes)",
            _listed(self.versions),
            *(f"{name}: {_listed(versions)}" for name, versions in self.peers.items() if versions),
        ]


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _load() -> tuple[float, float, float]:
    return os.getloadavg()


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left")
    shown.add_column("what")
    shown.add_column(f"median, {table.unit}", justify="right")
    shown.add_column("all repetitions", justify="right")
    for heading in ("remark", "asked", "found", "reached"):
        shown.add_column(heading)
    for row in table.rows:
        numbers = [f"{value:,.{row.digits}f}" for value in row.values]
        shown.add_row(
            row.what,
            f"{median(row.values):,.{row.digits}f}" if row.values else "-",
            " ".join(numbers),
            row.remark,
            row.asked,
            row.found,
            {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[row.reached],
        )
    return shown
