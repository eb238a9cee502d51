"""Fill table iris_data with seeded rows, so that this folder alone has something to train on.

uv run python -m part6.seed_database --rows 1000

Row by row what part 1's generator writes for the same seed, without its speed and guards.
"""
# scikit-learn takes seconds to import: functions import it, so that --help does not wait.

import logging
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection, func, select, text

from part6.command import BadUsageError, DebugOption, WorkFailedError, run
from part6.database import connected
from part6.iris import FEATURES
from part6.repeat import repeat
from part6.schema import check_columns, iris_data, metadata
from part6.settings import Settings, load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TICK_SECONDS = 5.0  # how often --rate adds what has become due
BLOCK = 8192  # rows are drawn in blocks, each with a generator of its own, as in part 1

log = logging.getLogger(__name__)


def seed_database(
    rows: Annotated[int, typer.Option(min=1, help="Top the table up to this many rows.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 2022,
    rate: Annotated[
        float | None, typer.Option(help="Go on with this many rows per second until stopped.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only fail when there are fewer rows than --rows.")
    ] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Create table iris_data when it is missing and top it up; full already, nothing happens."""
    if rate is not None and not 0 < rate < float("inf"):
        raise BadUsageError(f"--rate {rate:g} is not greater than 0")
    settings = load_settings()
    if check:
        found = count_rows(settings)
        if found < rows:
            raise WorkFailedError(
                f"table iris_data holds {found} rows, fewer than {rows}; fill it with "
                f"`uv run python -m part6.seed_database --rows {rows}`"
            )
        return
    if rate is None:
        top_up(settings, rows, seed)
        return
    target = float(rows)

    def tick() -> None:
        nonlocal target
        # From what the table holds, not from what this process remembers: a commit that was lost,
        # or made although its answer was lost, is neither repeated nor skipped.
        target = max(target, top_up(settings, int(target), seed)) + rate * TICK_SECONDS

    repeat(tick, TICK_SECONDS)


def count_rows(settings: Settings) -> int:
    """Count the rows of the table, which must be there."""
    with connected(settings) as engine, engine.connect() as connection:
        check_columns(connection)
        return connection.scalar(select(func.count()).select_from(iris_data)) or 0


def top_up(settings: Settings, rows: int, seed: int) -> int:
    """Add rows in one transaction until there are `rows`; return how many there are then."""
    with connected(settings) as engine, engine.begin() as connection:
        # Two at once: the second waits here and finds the table full.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('iris_data'))"))
        metadata.create_all(connection)
        check_columns(connection)
        connection.execute(text("LOCK TABLE iris_data IN SHARE ROW EXCLUSIVE MODE"))
        found, last = connection.execute(
            select(func.count(), func.coalesce(func.max(iris_data.c.id), 0))
        ).one()
        if found < rows:
            _insert(connection, last + 1, last + rows - found, seed)
    log.info("%d rows added, table iris_data holds %d", max(rows - found, 0), max(rows, found))
    return max(rows, int(found))


def draw(seed: int, first: int, last: int) -> "NDArray[np.int64]":
    """Which of the 150 flowers the rows with id `first` to `last` are (last - first + 1,)."""
    import numpy as np

    start, end = (first - 1) // BLOCK, (last - 1) // BLOCK + 1
    blocks = [np.random.default_rng([seed, n]).integers(150, size=BLOCK) for n in range(start, end)]
    return np.concatenate(blocks)[first - 1 - start * BLOCK : last - start * BLOCK]


def _insert(connection: Connection, first: int, last: int, seed: int) -> None:
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    # One microsecond apart, as in part 1: two rows with one time and one measurement are copies.
    begun = datetime.now(UTC) - timedelta(microseconds=last)
    flowers = zip(range(first, last + 1), draw(seed, first, last), strict=True)
    for batch in batched(flowers, 10_000):
        connection.execute(
            iris_data.insert(),
            [
                {
                    "id": row,
                    "timestamp": begun + timedelta(microseconds=row),
                    **dict(zip(FEATURES, x[i].tolist(), strict=True)),
                    "target": int(y[i]),
                }
                for row, i in batch
            ],
        )
    # Rows that are inserted without an id continue behind these.
    connection.execute(
        text("SELECT setval(pg_get_serial_sequence('iris_data', 'id'), :last)"), {"last": last}
    )


if __name__ == "__main__":
    run(seed_database)
