"""Create the table that the data generator fills. Safe to run twice.

uv run python -m part1.table_creator
"""

import logging

from part1.command import DebugOption, run
from part1.database import connect, engine
from part1.schema import ensure_table
from part1.settings import load_settings

log = logging.getLogger(__name__)


def create_table(debug: DebugOption = False) -> None:  # noqa: ARG001 - read by run()
    """Create table iris_data, or check that the one that is there has the right columns."""
    settings = load_settings()
    connect(settings).close()  # wait for the server, and say so
    created = ensure_table(engine(settings))
    log.info("table iris_data %s", "created" if created else "is there already")


if __name__ == "__main__":
    run(create_table)
