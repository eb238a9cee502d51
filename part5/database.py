"""A database that answers: SQLite in a file, or PostgreSQL, waited for while it starts."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event

import stamina
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from part5.startup import StartError

log = logging.getLogger("uvicorn.error")  # in uvicorn's own form, among its own lines

# What SQLAlchemy raises when a database is away, shutting down, too slow or full of clients.
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)


def open_database(
    url: str, wait_seconds: float, prepare: Callable[[Connection], None], stopped: Event
) -> Engine:
    """Connect, waiting up to `wait_seconds` for a server to answer, and run `prepare` once.

    Raises:
        StartError: nobody answered in time or before `stopped` was set, the login was refused or
            the file cannot be used.
    """
    place = make_url(url)
    sqlite = place.get_backend_name() == "sqlite"
    engine = _sqlite(place) if sqlite else _postgresql(place)
    stamina.instrumentation.set_on_retry_hooks([])  # the line below says it
    attempts = stamina.retry_context(
        on=lambda exc: _waiting_helps(exc) and not stopped.is_set(),
        attempts=None,
        timeout=wait_seconds,
        wait_initial=0.1,
        wait_max=0.5,  # the longest that a stop is put off
        wait_jitter=0.1,
    )
    try:
        for attempt in attempts:
            with attempt:
                if attempt.num == 2:
                    log.info("waiting for %s ...", _name(place))
                with engine.begin() as connection:
                    prepare(connection)
    except (DatabaseError, InterfaceError) as exc:
        engine.dispose()
        if stopped.is_set():
            raise StartError(f"interrupted while {_name(place)} did not answer") from exc
        raise StartError(_explain(exc, place, wait_seconds)) from exc
    except StartError:
        engine.dispose()
        raise
    return engine


def _postgresql(place: URL) -> Engine:
    return create_engine(
        place.set(drivername="postgresql+psycopg"),
        pool_size=10,
        max_overflow=0,  # more requests than that wait in line, here and not in the server
        pool_timeout=10,
        pool_pre_ping=True,  # a connection that died while nobody used it is replaced unseen
        connect_args={
            "connect_timeout": 3,
            "tcp_user_timeout": 10_000,  # ms; a host that vanished does not hold a request longer
            "options": "-c statement_timeout=10000",
            "application_name": "part5",
        },
    )


def _sqlite(place: URL) -> Engine:
    file = Path(place.database or "")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartError(f"{_name(place)}: {exc.strerror}; correct USERS_DATABASE_URL") from exc
    engine = create_engine(place, connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def _readers_beside_a_writer(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    return engine


def _waiting_helps(exc: Exception) -> bool:
    """Whether this passes by itself: no answer or still starting, but not a refused login."""
    if not isinstance(exc, DBAPIError):
        return False
    text = str(exc.orig)
    if "sqlite3" in type(exc.orig).__module__:
        return "locked" in text
    refused = "FATAL" in text
    return isinstance(exc, AWAY) and (
        not refused or "the database system is" in text or "too many clients" in text
    )


def _explain(exc: DBAPIError, place: URL, wait_seconds: float) -> str:
    name, text = _name(place), str(exc.orig).strip()
    if place.get_backend_name() == "sqlite":
        return f"{name}: {text}; correct USERS_DATABASE_URL"
    if _waiting_helps(exc):
        return (
            f"no {name} after {wait_seconds:g} s; start it with `uv run course up part5`, or with "
            "`docker compose up -d --wait postgres-server` in part5/"
        )
    refusal = re.search(r"FATAL: *(.*)", text)
    reason = refusal[1] if refusal else text.splitlines()[0]
    return f"{name} refuses: {reason}; correct USERS_DATABASE_URL"


def _name(place: URL) -> str:
    """The database for a person, without user and password."""
    if place.get_backend_name() == "sqlite":
        return f"SQLite file {place.database}"
    return f"PostgreSQL at {place.host or 'localhost'}:{place.port or 5432}"
