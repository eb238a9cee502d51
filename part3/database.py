"""Reads the newest rows of `iris_data` and refuses rows that no model should learn from."""

import logging
from collections.abc import Sequence

import stamina
from sqlalchemy import URL, Connection, Engine, Row, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from part3.command import WorkFailedError
from part3.settings import Settings

log = logging.getLogger(__name__)

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
LABELS = ("setosa", "versicolor", "virginica")  # target 0, 1, 2
COLUMNS = ("id", *FEATURES, "target")
MAX_CM = 30.0  # the table's own limit

FILL = "fill it with `uv run python -m part1.data_generator --count 1000 --bulk`"


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
    return create_engine(url, connect_args={"connect_timeout": 5, "application_name": "part3"})


def connect(settings: Settings) -> Connection:
    """Open a connection, waiting up to `db_wait_seconds` for a server to answer.

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
                if attempt.num == 2:
                    log.info("waiting for PostgreSQL at %s ...", address)
                return engine(settings).connect()
    except OperationalError as exc:
        raise WorkFailedError(_explain(exc, settings, address)) from exc
    raise AssertionError("stamina returns or raises")


def newest_rows(settings: Settings, count: int) -> Sequence[Row[tuple[object, ...]]]:
    """Read the newest `count` rows as (id, four features in cm, target), oldest first.

    Raises:
        WorkFailedError: there is no such table, it has other columns, or a row holds a value that
            is no measurement.
    """
    query = text(f"SELECT {', '.join(COLUMNS)} FROM iris_data ORDER BY id DESC LIMIT :count")  # noqa: S608
    with connect(settings) as connection:
        try:
            rows = connection.execute(query, {"count": count}).all()[::-1]
        except ProgrammingError as exc:
            raise WorkFailedError(_explain_table(exc, settings)) from exc
        except OperationalError as exc:
            address = f"{settings.postgres_host}:{settings.postgres_port}"
            raise WorkFailedError(
                f"PostgreSQL at {address} went away while rows were read; run this again"
            ) from exc
    if poisoned := [row.id for row in rows if not _is_measurement(row)]:
        shown = ", ".join(map(str, poisoned[:5])) + (", ..." if len(poisoned) > 5 else "")
        raise WorkFailedError(
            f"{len(poisoned)} of {len(rows)} rows in iris_data are no measurements (id {shown}); "
            "see `uv run python -m part1.data_quality`, then correct or delete them"
        )
    return rows


def _is_measurement(row: Row[tuple[object, ...]]) -> bool:
    measured = row._mapping
    return measured["target"] in range(len(LABELS)) and all(
        isinstance(cm := measured[name], float) and 0 < cm <= MAX_CM for name in FEATURES
    )


def _not_there(exc: Exception) -> bool:
    """Whether waiting can help: no answer or still starting, but not a refused login."""
    if not isinstance(exc, OperationalError):
        return False
    return "FATAL" not in str(exc) or "starting up" in str(exc) or "shutting down" in str(exc)


def _explain(exc: OperationalError, settings: Settings, address: str) -> str:
    reason = str(exc.orig)
    if "password authentication failed" in reason:
        return (
            f"PostgreSQL at {address} refused user {settings.postgres_user!r}: wrong password; "
            "set POSTGRES_USER and POSTGRES_PASSWORD to what the server was started with"
        )
    if "does not exist" in reason:
        return (
            f"PostgreSQL at {address} has no database {settings.postgres_db!r} or no user "
            f"{settings.postgres_user!r}; set POSTGRES_DB and POSTGRES_USER"
        )
    if _not_there(exc):
        return (
            f"no PostgreSQL at {address} after {settings.db_wait_seconds:g} s; start it with "
            "`uv run course up part3`, or with `docker compose up -d --wait` in part3/"
        )
    return f"PostgreSQL at {address}: {reason.strip().splitlines()[-1]}"


def _explain_table(exc: ProgrammingError, settings: Settings) -> str:
    reason = str(exc.orig).splitlines()[0]
    if 'relation "iris_data" does not exist' in reason:
        return (
            f"database {settings.postgres_db!r} has no table iris_data; create it with "
            f"`uv run python -m part1.table_creator` and {FILL}"
        )
    return (
        f"table iris_data has other columns than this course's ({reason}); rename it, or drop it "
        "and run `uv run python -m part1.table_creator`"
    )
