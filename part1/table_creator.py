"""Create the table that the data generator fills. Safe to run twice.

uv run python -m part1.table_creator
"""

import logging

from sqlalchemy import text

from part1.command import DebugOption, run
from part1.database import connect, engine
from part1.schema import check_columns, iris_data, metadata
from part1.settings import load_settings

log = logging.getLogger(__name__)


def create_table(debug: DebugOption = False) -> None:  # noqa: ARG001 - read by run()
    """Create table iris_data, or check that the one that is there has the right columns."""
    settings = load_settings()
    connect(settings).close()  # wait for the server, and say so
    with engine(settings).begin() as connection:
        # Two creators at once: the second waits here instead of failing on a half-made table.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('iris_data'))"))
        existed = connection.dialect.has_table(connection, iris_data.name)
        metadata.create_all(connection)
        check_columns(connection)
    log.info("table iris_data %s", "is there already" if existed else "created")


if __name__ == "__main__":
    run(create_table)
