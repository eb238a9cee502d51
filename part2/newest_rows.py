"""Read the newest rows of the table, checked."""

from typing import TYPE_CHECKING

from sqlalchemy import select

from part2.database import connected
from part2.iris import FEATURES
from part2.schema import check_columns, iris_data
from part2.settings import Settings

if TYPE_CHECKING:
    from part2.dataset import Dataset


def read_newest_rows(settings: Settings, rows: int) -> "Dataset":
    """Read the newest `rows` rows of `iris_data`, oldest first, checked and typed.

    Raises:
        WorkFailedError: no server, no such table, too few rows, or rows that cannot be trained on.
    """
    newest = (
        select(iris_data.c.id, *(iris_data.c[name] for name in (*FEATURES, "target")))
        .order_by(iris_data.c.id.desc())
        .limit(rows)
    )
    with connected(settings) as engine, engine.connect() as connection:
        check_columns(connection)
        newest_first = connection.execute(newest).all()
    # Imported here: a server or table that is not there is reported without waiting for it.
    import pandas as pd

    from part2.dataset import checked_dataset

    columns = ["id", *FEATURES, "target"]
    frame = pd.DataFrame(newest_first[::-1], columns=columns).set_index("id")
    return checked_dataset(
        frame,
        source="table iris_data",
        remedy="look with `uv run python -m part1.data_quality`, then correct or delete them",
        more_rows="add rows with `uv run python -m part1.data_generator --count 1000 --bulk`",
    )
