"""Check the newest rows of table iris_data: types, ranges, labels, nulls, copies, gaps, age.

uv run python -m part1.data_quality
uv run python -m part1.data_quality --max-age 1 --json
"""

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from part1.command import DebugOption, WorkFailedError, run
from part1.database import connect, engine
from part1.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection

    from part1.quality_schema import Finding

FILL = "fill it with `uv run python -m part1.data_generator --count 1000 --bulk`"
VERDICTS = {True: "[green]ok[/]", False: "[bold red]BAD[/]", None: "[dim]-[/]"}


def check_quality(
    rows: Annotated[int, typer.Option(help="Check this many of the newest rows.", min=1)] = 100_000,
    max_age: Annotated[
        float, typer.Option(help="Hours; the newest row may be this old.", min=0)
    ] = 24.0,
    max_duplicate_rate: Annotated[
        float, typer.Option(help="Share of rows that may equal another.", min=0, max=1)
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Say whether the data are good enough to train on; exit 1 when they are not.

    Works on any table iris_data with the course's columns, also on one without constraints.
    """
    settings = load_settings()
    connect(settings).close()  # wait for the server, and say so
    from part1.quality_schema import Expectations, Finding, check

    with engine(settings).connect() as connection:
        newest = read_newest(connection, rows)
        now = connection.exec_driver_sql("SELECT now()").scalar_one()
    expected = Expectations(now, timedelta(hours=max_age), max_duplicate_rate)
    if newest.empty:
        findings = [Finding("rows", "at least 1", "0", ok=False)]
    else:
        findings = [Finding("rows", "at least 1", f"{len(newest):,}", ok=True)]
        findings += check(newest, expected)
    if as_json:
        print_json(newest, findings)
    else:
        print_table(settings.postgres_db, findings)
    bad = [finding.check for finding in findings if finding.ok is False]
    if newest.empty:
        raise WorkFailedError(f"table iris_data is empty; {FILL}")
    if bad:
        raise WorkFailedError(
            f"{len(bad)} of {len(findings)} checks of iris_data failed ({', '.join(bad)}); "
            "do not train on these rows before they are mended or removed"
        )


def read_newest(connection: "Connection", count: int) -> "pd.DataFrame":
    """The `count` rows with the highest ids, ascending by id, in the types of the schema.

    A column whose type in the database cannot stand for the schema's keeps its own.

    Raises:
        WorkFailedError: there is no table iris_data, or a column is missing.
    """
    import pandas as pd
    from sqlalchemy import inspect
    from sqlalchemy.types import DateTime, Float, Integer, Numeric

    from part1.quality_schema import DTYPES

    inspector = inspect(connection)
    if not inspector.has_table("iris_data"):
        raise WorkFailedError(
            "there is no table iris_data; create it with `uv run python -m part1.table_creator`"
        )
    types = {c["name"]: c["type"] for c in inspector.get_columns("iris_data")}
    if missing := [name for name in DTYPES if name not in types]:
        raise WorkFailedError(
            f"table iris_data has no column {', '.join(missing)}; rename it, or drop it and run "
            "`uv run python -m part1.table_creator`"
        )
    stands_for: dict[str, tuple[type, ...]] = {
        "Int64": (Integer,),
        "Float64": (Float, Numeric),
        DTYPES["timestamp"]: (DateTime,),
    }
    usable = {n: dtype for n, dtype in DTYPES.items() if isinstance(types[n], stands_for[dtype])}
    wanted = {name: f'"{name}"' for name in DTYPES}
    if "timestamp" in usable:
        # A timestamp without zone (the archive's table) was cut to the server's local time.
        wanted["timestamp"] = '("timestamp"::timestamptz AT TIME ZONE \'UTC\') AS "timestamp"'
    query = f"SELECT {', '.join(wanted.values())} FROM iris_data ORDER BY id DESC LIMIT {count:d}"  # noqa: S608
    frame = pd.read_sql(query, connection, dtype_backend="numpy_nullable")
    for name, dtype in usable.items():
        if name == "timestamp":
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]").dt.tz_localize("UTC")
        else:
            frame[name] = frame[name].astype(dtype)  # type: ignore[call-overload]
    return frame.iloc[::-1].reset_index(drop=True)


def print_json(rows: "pd.DataFrame", findings: "list[Finding]") -> None:
    """Print the report as one JSON document."""
    ids = rows["id"].dropna()
    report = {
        "table": "iris_data",
        "ok": all(finding.ok is not False for finding in findings),
        "rows": len(rows),
        "first_id": None if ids.empty else ids.min(),
        "last_id": None if ids.empty else ids.max(),
        "checks": [asdict(finding) for finding in findings],
    }
    print(json.dumps(report, indent=2, default=int))


def print_table(database: str, findings: "list[Finding]") -> None:
    """Print the report for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"iris_data in {database}")
    table.add_column("check", no_wrap=True)  # by these names the last line speaks of what is bad
    for column in ("expected", "found", "verdict", "ids"):
        table.add_column(column)
    for finding in findings:
        ids = ", ".join("null" if i is None else str(i) for i in finding.ids)
        more = finding.offenders - len(finding.ids) if finding.ids else 0
        if more > 0:
            ids += f" and {more:,} more"
        table.add_row(finding.check, finding.expected, finding.found, VERDICTS[finding.ok], ids)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file has no edge to fold the lines at
    console.print(table)


if __name__ == "__main__":
    run(check_quality)
