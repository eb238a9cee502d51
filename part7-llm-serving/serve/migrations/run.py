"""Bring the tables up to date, once, however many servers start at the same time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from serve.core.errors import DatabaseAwayError

log = structlog.get_logger()

LOCK = 7_000_007  # any number that nobody else locks in this database
PAUSE = 0.3
HERE = Path(__file__).parent


def migrate(url: str, wait_seconds: float, revision: str = "head") -> None:
    """Upgrade to `revision`, waiting up to `wait_seconds` for the database to answer.

    Raises:
        DatabaseAwayError: it did not answer, refuses, or was made by a newer course.
    """
    deadline = time.monotonic() + wait_seconds
    said = False
    while True:
        try:
            with connected(url) as connection:
                _upgrade(connection, revision)
            return
        except OperationalError as exc:
            why = str(exc.orig).strip().split("\n", 1)[0]
            refused = "FATAL" in why and "the database system is" not in why
            if refused or "unable to open" in why or time.monotonic() > deadline:
                raise DatabaseAwayError(f"{_place(url)}: {why}; correct DATABASE_URL") from exc
            if not said:
                log.info("waiting for the database", place=_place(url))
                said = True
            time.sleep(PAUSE)
        except DatabaseError as exc:
            why = str(exc.orig).strip().split("\n", 1)[0]
            raise DatabaseAwayError(f"{_place(url)}: {why}; correct DATABASE_URL") from exc


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection in a transaction, while nobody else migrates."""
    place = make_url(url)
    if place.get_backend_name() != "sqlite":
        engine = create_engine(
            place.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": 3}
        )
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                yield connection
        finally:
            engine.dispose()
        return
    file = Path(place.database or "")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DatabaseAwayError(f"{file}: {exc.strerror}; correct DATABASE_URL") from exc
    engine = create_engine(place, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _by_hand(connection, _):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # or Python would commit before every ALTER TABLE

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with FileLock(f"{file}.migrating"), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def config_for(connection: Connection) -> Config:
    """Alembic's configuration on a connection."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, revision: str) -> None:
    config = config_for(connection)
    scripts = ScriptDirectory.from_config(config)
    there = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if there is not None and there not in known:
        raise DatabaseAwayError(
            f"the database was made by a newer version (revision {there}): start that one"
        )
    if there == scripts.get_current_head() and revision == "head":
        return
    log.info("migrating", now=there, to=revision)
    command.upgrade(config, revision)


def _place(url: str) -> str:
    """The database for a person, without user and password."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        return f"SQLite file {place.database}"
    return f"PostgreSQL at {place.host or 'localhost'}:{place.port or 5432}"
