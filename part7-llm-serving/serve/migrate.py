"""Bring the database up to date, and end: what compose runs once before the servers.

uv run python -m serve.migrate        (from the folder part7-llm-serving)
"""

import sys

from serve.core.config import settings_or_exit
from serve.core.errors import DatabaseAwayError
from serve.core.logging import set_up_logging
from serve.migrations.run import migrate


def migrate_or_exit(url: str, wait_seconds: float) -> None:
    """Migrate, or end with one line and status 1."""
    try:
        migrate(url, wait_seconds)
    except DatabaseAwayError as exc:
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    settings = settings_or_exit()
    set_up_logging()
    migrate_or_exit(settings.database_url.get_secret_value(), settings.db_wait_seconds)
