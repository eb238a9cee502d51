"""Fill `iris_data` up to a number of seeded rows, so that this folder alone has data to train on.

uv run python -m part3.seed_database --rows 1000

Part 1's data generator is the real source; where it has written enough rows, this adds none.
"""

import logging
import signal
import threading
from typing import Annotated

import typer
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    func,
    select,
    text,
)
from sqlalchemy.exc import OperationalError, ProgrammingError

from part3.command import DebugOption, WorkFailedError, run
from part3.database import FEATURES, MAX_CM, connect, newest_rows
from part3.settings import Settings, load_settings

log = logging.getLogger(__name__)

SEED = 2022
metadata = MetaData()

# The same table as part 1 makes, to the name of each constraint.
iris_data = Table(
    "iris_data",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("timestamp", DateTime(timezone=True), nullable=False, server_default=func.now()),
    *(Column(name, Double, nullable=False) for name in FEATURES),
    Column("target", Integer, nullable=False),
    *(
        CheckConstraint(f"{name} > 0 AND {name} <= {MAX_CM:g}", name=f"iris_data_{name}_check")
        for name in FEATURES
    ),
    CheckConstraint("target IN (0, 1, 2)", name="iris_data_target_check"),
    Index("iris_data_timestamp_idx", "timestamp"),
)


def seed_database(
    rows: Annotated[int, typer.Option(min=1, help="The table holds this many afterwards.")] = 1000,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Go on with so many rows a second till stopped.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Add nothing; fail unless the rows are there.")
    ] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Create table iris_data if it is missing and fill it up to --rows rows."""
    settings = load_settings()
    if check:
        if len(newest_rows(settings, rows)) < rows:
            raise WorkFailedError(f"iris_data has fewer than {rows} rows; run this without --check")
        return
    log.info("iris_data has %d rows", filled := fill_up_to(settings, rows))
    if rate is None:
        return
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    # One row at a time below one row a second, one transaction a second above.
    while not stopped.wait(max(1.0, 1 / rate)):
        filled = fill_up_to(settings, filled + max(1, round(rate)))
    log.info("stopped; iris_data has %d rows", filled)


def fill_up_to(settings: Settings, rows: int) -> int:
    """Add the rows that are missing in one transaction; return how many there are then.

    Raises:
        WorkFailedError: the table has other columns, or the database went away.
    """
    try:
        with connect(settings) as connection, connection.begin():
            # Part 1's creator and a second seeder wait for the same lock.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('iris_data'))"))
            metadata.create_all(connection)
            there: int = connection.scalar(select(func.count()).select_from(iris_data)) or 0
            if there < rows:
                _add(connection, rows - there)
            return max(there, rows)
    except ProgrammingError as exc:
        raise WorkFailedError(
            "table iris_data has other columns than this course's; rename it, or drop it "
            "and run this again"
        ) from exc
    except OperationalError as exc:
        raise WorkFailedError("PostgreSQL went away; nothing half-written, run this again") from exc


def _add(connection: Connection, count: int) -> None:
    import numpy as np
    from sklearn.datasets import load_iris

    iris = load_iris()
    # id is the position in the stream, and position and seed decide what is drawn.
    first = connection.execute(select(func.coalesce(func.max(iris_data.c.id), 0))).scalar_one() + 1
    drawn = np.random.default_rng(SEED).integers(len(iris.target), size=first - 1 + count)
    connection.execute(
        iris_data.insert(),
        [
            {
                "id": first + offset,
                **dict(zip(FEATURES, iris.data[flower].tolist(), strict=True)),
                "target": int(iris.target[flower]),
            }
            for offset, flower in enumerate(drawn[first - 1 :].tolist())
        ],
    )
    # Whoever inserts without an id goes on after these.
    connection.execute(text(f"ALTER TABLE iris_data ALTER COLUMN id RESTART WITH {first + count}"))


if __name__ == "__main__":
    run(seed_database)
