"""Is the memory of `part1.data_generator --bulk` flat in the number of rows?

uv run python -m bench.bulk_memory
uv run python -m bench.bulk_memory --rows 1000000 --rows 10000000
"""

import subprocess
import sys
import time
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.own_postgres import environ, own_postgres
from bench.report import save, versions
from part1.database import connect
from part1.settings import Settings


def peak_memory(settings: Settings, rows: int) -> int:
    """The largest resident set in bytes, looked at a hundred times a second."""
    process = psutil.Popen(
        [sys.executable, "-m", "part1.data_generator", "--count", str(rows), "--bulk"],
        env=environ(settings),
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.01)
    if process.wait() != 0:
        raise SystemExit(f"the generator exited with status {process.returncode}")
    return peak


def measure(
    rows: Annotated[list[int] | None, typer.Option(help="Numbers of rows to write.")] = None,
) -> None:
    """Run the command for each number of rows; print the peaks and save them as JSON."""
    peaks: dict[int, int] = {}
    with own_postgres() as settings:
        for count in rows or [1000, 1_000_000, 10_000_000]:
            with connect(settings, autocommit=True) as connection:
                connection.execute("TRUNCATE iris_data RESTART IDENTITY")
            peaks[count] = peak_memory(settings, count)
    table = Table(title="part1.data_generator --bulk")
    table.add_column("rows", justify="right")
    table.add_column("peak resident memory", justify="right")
    for count, peak in peaks.items():
        table.add_row(f"{count:,}", f"{peak / 1e6:.0f} MB")
    Console().print(table)
    used = versions(["psycopg", "numpy"])
    print(", ".join(f"{name} {number}" for name, number in used.items()))
    save("bulk_memory", {"versions": used, "peak_bytes_by_rows": peaks})


if __name__ == "__main__":
    typer.run(measure)
