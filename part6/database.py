"""PostgreSQL: wait for the server and explain a refusal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import stamina
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError

from part6.command import WorkFailedError
from part6.settings import Settings

log = logging.getLogger(__name__)


@contextmanager
def connected(settings: Settings) -> Iterator[Engine]:
    """Give an engine whose server answers, waiting up to `db_wait_seconds` for it.

    Raises:
        WorkFailedError: nobody answered in time, the server refused user, password or database,
            or it failed the statements inside the `with` block.
    """
    address = f"{settings.postgres_host}:{settings.postgres_port}"
    url = URL.create(
        "postgresql+psycopg2",
        username=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_db,
    )
    engine = create_engine(url, connect_args={"connect_timeout": 5, "application_name": "part6"})
    attempts = stamina.retry_context(
        on=_not_there,
        attempts=None,
        timeout=settings.db_wait_seconds,
        wait_initial=0.1,
        wait_max=2.0,
    )
    try:
        for attempt in attempts:
            with attempt:
                if attempt.num == 2:
                    log.info("waiting for PostgreSQL at %s ...", address)
                engine.connect().close()
        yield engine
    except DBAPIError as exc:
        raise WorkFailedError(_explain(exc, settings, address)) from exc
    finally:
        engine.dispose()


def _not_there(exc: Exception) -> bool:
    """Whether waiting can help: no answer or still starting, but not a refused login."""
    if not isinstance(exc, OperationalError):
        return False
    text = str(exc.orig)
    return "FATAL" not in text or "starting up" in text or "shutting down" in text


def _explain(exc: DBAPIError, settings: Settings, address: str) -> str:
    text = str(exc.orig).strip()
    if exc.statement is not None:
        return f"PostgreSQL at {address}: {text.splitlines()[0]}; nothing was changed, try again"
    if "password authentication failed" in text:
        return (
            f"PostgreSQL at {address} refused user {settings.postgres_user!r}: wrong password; "
            "set POSTGRES_USER and POSTGRES_PASSWORD to what the server was started with"
        )
    if "does not exist" in text:
        return (
            f"PostgreSQL at {address} has no database {settings.postgres_db!r} or no user "
            f"{settings.postgres_user!r}; set POSTGRES_DB and POSTGRES_USER"
        )
    if _not_there(exc):
        return (
            f"no PostgreSQL at {address} after {settings.db_wait_seconds:g} s; start it with "
            "`uv run course up part6`, or with `docker compose up -d --wait postgres-server` "
            "in part6/"
        )
    return f"PostgreSQL at {address}: {text.splitlines()[-1]}"
