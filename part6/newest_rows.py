"""Read the newest rows of the table and refuse rows that no model should learn from."""

from collections.abc import Sequence

from sqlalchemy import Row, select

from part6.command import WorkFailedError
from part6.database import connected
from part6.iris import FEATURES, LABELS, MAX_CM
from part6.schema import check_columns, iris_data
from part6.settings import Settings

COLUMNS = ("id", *FEATURES, "target")


def newest_rows(settings: Settings, rows: int) -> Sequence[Row[tuple[object, ...]]]:
    """Read the newest `rows` rows as (id, four features in cm, target), oldest first.

    Raises:
        WorkFailedError: no server, no such table, or a row holds a value that is no measurement.
    """
    newest = (
        select(*(iris_data.c[name] for name in COLUMNS)).order_by(iris_data.c.id.desc()).limit(rows)
    )
    with connected(settings) as engine, engine.connect() as connection:
        check_columns(connection)
        found = connection.execute(newest).all()[::-1]
    if poisoned := [row.id for row in found if not _is_measurement(row)]:
        shown = ", ".join(map(str, poisoned[:5])) + (", ..." if len(poisoned) > 5 else "")
        raise WorkFailedError(
            f"{len(poisoned)} of {len(found)} rows in iris_data are no measurements (id {shown}); "
            "see `uv run python -m part1.data_quality`, then correct or delete them"
        )
    return found


def _is_measurement(row: Row[tuple[object, ...]]) -> bool:
    measured = row._mapping
    return measured["target"] in LABELS and all(
        isinstance(cm := measured[name], float) and 0 < cm <= MAX_CM for name in FEATURES
    )
