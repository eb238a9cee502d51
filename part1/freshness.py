"""Exit 0 while rows arrive: the health check of the generator's container.

uv run python -m part1.freshness --max-age 60
"""

from typing import Annotated

import typer
from psycopg import errors

from part1.command import DebugOption, WorkFailedError, run
from part1.database import connect
from part1.settings import load_settings


def check_freshness(
    max_age: Annotated[float, typer.Option(help="Seconds; the newest row may be this old.")] = 60.0,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Say how old the newest row of iris_data is; exit 1 when it is too old.

    One look at the end of the index on timestamp, cheap enough to repeat every few seconds.
    """
    try:
        with connect(load_settings()) as connection:
            found = connection.execute(
                "SELECT extract(epoch FROM now() - max(timestamp))::float8 FROM iris_data"
            ).fetchone()
    except errors.UndefinedTable as exc:
        raise WorkFailedError(
            "there is no table iris_data; create it with `uv run python -m part1.table_creator`"
        ) from exc
    assert found is not None
    if found[0] is None:
        raise WorkFailedError("iris_data is empty; is `uv run python -m part1.data_generator` on?")
    age = max(found[0], 0.0)
    if age > max_age:
        raise WorkFailedError(
            f"the newest row is {age:.0f} s old, more than {max_age:g} s; is "
            "`uv run python -m part1.data_generator` on?"
        )
    print(f"the newest row is {age:.1f} s old")


if __name__ == "__main__":
    run(check_freshness)
