"""How fast is `part1.data_generator --bulk`, beside bare COPY, its floor, and commit per row?

uv run python -m bench.bulk_insert
uv run python -m bench.bulk_insert --rows 2000000 --repeats 7

- bare COPY: psycopg 3, binary, `write_row` of ready-made tuples with `set_types`, one transaction
- floor: the same bytes, encoded beforehand, one transaction
- ours: drawing, encoding and transactions, as --bulk does
- command: what the whole command reports, in a process of its own
"""

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from bench.own_postgres import environ, own_postgres
from bench.report import save, versions
from part1 import pacing
from part1.database import connect, engine
from part1.draw import IrisStream
from part1.insertion import Rows, commit_per_row, copy_binary, draw_rows
from part1.settings import Settings
from part1.table_writer import TableWriter
from part1.wire import COPY, Encoder

SEED = 2022
SLOW_ROWS = 2000  # commit per row needs no more to have a steady speed


def bare_copy(settings: Settings, rows: Rows) -> float:
    """Rows per second of `write_row`."""
    with connect(settings, autocommit=True) as connection:
        return _speed(len(rows.tuples), lambda: copy_binary(connection, rows))


def floor(settings: Settings, pieces: list[bytes], count: int) -> float:
    """Rows per second when there is nothing to do but to send."""

    def send(connection: psycopg.Connection) -> None:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for piece in pieces:
                copy.write(piece)

    with connect(settings, autocommit=True) as connection:
        return _speed(count, lambda: send(connection))


def ours(settings: Settings, count: int) -> float:
    """Rows per second of --bulk, without the start of the process."""
    writer = TableWriter(settings, 60.0, lambda: False)
    encoder = Encoder(IrisStream(SEED))
    speed = _speed(count, lambda: pacing.bulk(writer, encoder, count, threading.Event()))
    writer.close()
    return speed


def command(settings: Settings, count: int) -> float:
    """Rows per second that the command reports."""
    done = subprocess.run(
        [sys.executable, "-m", "part1.data_generator", "--count", str(count), "--bulk"],
        env=environ(settings),
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"([\d,.]+) rows/s", done.stderr)
    assert found is not None, done.stderr
    return float(found[1].replace(",", ""))


def slow(settings: Settings, rows: Rows) -> float:
    """Rows per second with a commit for each."""
    few = Rows(rows.tuples[:SLOW_ROWS], rows.timestamps[:SLOW_ROWS], rows.encoder)
    with engine(settings).connect() as pooled:
        plain = pooled.connection.driver_connection
        assert plain is not None
        speed = _speed(len(few.tuples), lambda: commit_per_row(plain, few))
    pooled.engine.dispose()
    return speed


def _speed(count: int, work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def measure(
    rows: Annotated[int, typer.Option(help="Rows per measurement.", min=1)] = 1_000_000,
    repeats: Annotated[int, typer.Option(help="Measurements per way.", min=1)] = 5,
) -> None:
    """Measure all ways in turn; print medians and ratios and save them as JSON."""
    drawn = draw_rows(rows, SEED)
    pieces = list(drawn.encoder.rows(1, drawn.timestamps))
    speeds: dict[str, list[float]] = {}
    with own_postgres() as settings:
        ways: dict[str, Callable[[], float]] = {
            "commit per row": lambda: slow(settings, drawn),
            "bare COPY": lambda: bare_copy(settings, drawn),
            "floor": lambda: floor(settings, pieces, rows),
            "ours": lambda: ours(settings, rows),
            "command": lambda: command(settings, rows),
        }
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats} ...", file=sys.stderr)
            for way, run in ways.items():
                _empty(settings)
                speeds.setdefault(way, []).append(run())
        server = _empty(settings)
    medians = {way: statistics.median(found) for way, found in speeds.items()}
    table = Table(title=f"{rows:,} rows, PostgreSQL {server}, median of {repeats}")
    for heading in ("way", "rows/s", "range", "of bare COPY", "of commit per row"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way, speed in medians.items():
        table.add_row(
            way,
            f"{speed:,.0f}",
            f"{min(speeds[way]):,.0f} to {max(speeds[way]):,.0f}",
            f"{speed / medians['bare COPY']:.0%}",
            f"{speed / medians['commit per row']:,.0f} x",
        )
    Console().print(table)
    used = versions(["psycopg", "psycopg2-binary", "numpy"]) | {"postgresql": server}
    print(", ".join(f"{name} {number}" for name, number in used.items()))
    save("bulk_insert", {"rows": rows, "versions": used, "rows_per_second": speeds})


def _empty(settings: Settings) -> str:
    """Empty the table; a checkpoint now is none in the measurement. Returns the version."""
    with connect(settings, autocommit=True) as connection:
        connection.execute("TRUNCATE iris_data RESTART IDENTITY")
        connection.execute("CHECKPOINT")
        return connection.info.parameter_status("server_version") or "?"


if __name__ == "__main__":
    typer.run(measure)
