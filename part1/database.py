"""Connections to PostgreSQL that wait for the server and explain a refusal."""

import logging

import psycopg
import stamina
from sqlalchemy import URL, Engine, create_engine

from part1.command import WorkFailedError
from part1.settings import Settings

log = logging.getLogger(__name__)


def connect(
    settings: Settings, *, autocommit: bool = False, quiet: bool = False
) -> psycopg.Connection:
    """Open a psycopg 3 connection, waiting up to `db_wait_seconds` for a server to answer.

    It says that it waits, unless `quiet`.

    Raises:
        WorkFailedError: nobody answered in time, or the server refused user, password or database.
    """
    address = f"{settings.postgres_host}:{settings.postgres_port}"
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
                if attempt.num == 2 and not quiet:
                    log.info("waiting for PostgreSQL at %s ...", address)
                return psycopg.connect(
                    host=settings.postgres_host,
                    port=settings.postgres_port,
                    user=settings.postgres_user,
                    password=settings.postgres_password.get_secret_value(),
                    dbname=settings.postgres_db,
                    autocommit=autocommit,
                    connect_timeout=5,
                    application_name="part1",
                )
    except psycopg.OperationalError as exc:
        raise WorkFailedError(_explain(exc, settings, address)) from exc
    raise AssertionError("stamina returns or raises")


def engine(settings: Settings) -> Engine:
    """Make a SQLAlchemy engine on psycopg2; it connects when it is first used."""
    url = URL.create(
        "postgresql+psycopg2",
        username=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_db,
    )
    return create_engine(url)


def _not_there(exc: Exception) -> bool:
    """Whether waiting can help: no answer or still starting, but not a refused login."""
    if not isinstance(exc, psycopg.OperationalError):
        return False
    # "the database system is starting up", "... shutting down", "... in recovery mode"
    return "FATAL" not in str(exc) or "the database system is" in str(exc)


def _explain(exc: psycopg.OperationalError, settings: Settings, address: str) -> str:
    text = str(exc)
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
            "`uv run course up part1`, or with `docker compose up -d --wait postgres-server` "
            "in part1/"
        )
    return f"PostgreSQL at {address}: {text.strip().splitlines()[-1]}"
