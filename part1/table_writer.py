"""The one writer of iris_data, which continues after the last row that the table holds.

Exactly once needs three things, and nothing else:
the row's id is its place in the stream; one transaction writes a batch; and after any doubt
(a connection lost at commit, a kill) the table itself says how far the stream got.
"""

import logging
import time
from collections.abc import Callable

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors

from part1.command import WorkFailedError
from part1.database import connect, engine
from part1.schema import ensure_table
from part1.settings import Settings
from part1.wire import COPY, Encoder

log = logging.getLogger(__name__)

# The class of our advisory locks; the table's oid is the other half of the key.
LOCK_CLASS = 0x1215
# A killed generator's session lives until the server notices the closed socket.
LOCK_SECONDS = 2.0
CREATE_FIRST = "create it with `uv run python -m part1.table_creator`"


class StoppedError(Exception):
    """The generator was asked to stop while the server was away; the rows at hand are not written.

    Nothing is lost: the next start draws the same rows again.
    """


class TableWriter:
    """Appends rows under an advisory lock that keeps every other writer out."""

    def __init__(
        self, settings: Settings, reconnect_seconds: float, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._reconnect_seconds = reconnect_seconds
        self._stopping = stopping
        connect(settings).close()  # wait for the server, and say so
        if ensure_table(engine(settings)):
            log.info("table iris_data created")
        self._connection = self._connect(settings)
        try:
            self._lock(LOCK_SECONDS)
            self.last_id = self._read_last_id()
        except BaseException:
            self._connection.close()
            raise

    def append(self, encoder: Encoder, timestamps: NDArray[np.int64]) -> None:
        """Write one row per timestamp (microseconds since 1970) after `last_id`, exactly once.

        Raises:
            WorkFailedError: the server is gone for longer than the limit, or refuses the rows.
            StoppedError: asked to stop while the server is away.
        """
        target = self.last_id + len(timestamps)
        while self.last_id < target:
            rest = timestamps[len(timestamps) - (target - self.last_id) :]
            try:
                self._copy(encoder, rest)
            except errors.UniqueViolation:
                # Somebody inserted by hand: their row has taken the next place in the stream.
                self.last_id = self._read_last_id()
                target = self.last_id + len(rest)
                log.info("somebody else wrote to iris_data; going on after id %d", self.last_id)
            except psycopg.Error as exc:
                if not self._is_lost(exc):
                    raise WorkFailedError(
                        f"PostgreSQL refused the rows: {_first_line(exc)}; rows up to id "
                        f"{self.last_id} are safe, start the generator again when it is mended"
                    ) from exc
                self._reconnect(exc)

    def close(self) -> None:
        """Release the lock and the connection."""
        self._connection.close()

    def _copy(self, encoder: Encoder, timestamps: NDArray[np.int64]) -> None:
        last_id = self.last_id + len(timestamps)
        with (
            self._connection.transaction(),
            self._connection.cursor() as cursor,
            cursor.copy(COPY) as copy,
        ):
            for piece in encoder.rows(self.last_id + 1, timestamps):
                copy.write(piece)
        self.last_id = last_id
        self._align_sequence(last_id)

    def _connect(self, settings: Settings, *, quiet: bool = False) -> psycopg.Connection:
        connection = connect(settings, autocommit=True, quiet=quiet)
        try:
            found = connection.execute("SELECT to_regclass('iris_data')").fetchone()
        except psycopg.OperationalError:
            connection.close()
            raise
        if found == (None,):
            connection.close()
            raise WorkFailedError(
                f"database {settings.postgres_db!r} has no table iris_data; {CREATE_FIRST}"
            )
        return connection

    def _lock(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        key = "(%s, 'iris_data'::regclass::oid::int)"
        while True:
            found = self._connection.execute(
                f"SELECT pg_try_advisory_lock{key}",
                (LOCK_CLASS,),
            ).fetchone()
            if found == (True,):
                return
            if time.monotonic() > deadline or self._stopping():
                raise WorkFailedError(
                    f"{self._holder()} fills iris_data in database "
                    f"{self._settings.postgres_db!r} already; stop it first, two would mix up "
                    "the stream"
                )
            time.sleep(0.1)

    def _holder(self) -> str:
        found = self._connection.execute(
            """
            SELECT pid, coalesce(host(client_addr), 'a local socket'), backend_start
            FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND classid = %s AND granted
              AND objid = 'iris_data'::regclass::oid
            """,
            (LOCK_CLASS,),
        ).fetchone()
        if found is None:
            return "another generator"
        pid, client, since = found
        return f"another generator (from {client}, since {since:%H:%M:%S}, backend {pid})"

    def _read_last_id(self) -> int:
        found = self._connection.execute("SELECT coalesce(max(id), 0) FROM iris_data").fetchone()
        assert found is not None
        self._align_sequence(found[0])
        return int(found[0])

    def _align_sequence(self, last_id: int) -> None:
        # So that a row inserted by hand takes the next id too. After the commit, never within:
        # a rollback does not take a sequence back, and the next row by hand would leave a gap.
        self._connection.execute(
            "SELECT setval(pg_get_serial_sequence('iris_data', 'id'), greatest(%s, 1), %s > 0)",
            (last_id, last_id),
        )

    def _is_lost(self, exc: psycopg.Error) -> bool:
        # Class 57P is the server's farewell; it can be read before the end of the connection is.
        return self._connection.broken or (exc.sqlstate or "").startswith("57P")

    def _reconnect(self, cause: psycopg.Error) -> None:
        self._connection.close()
        log.info("lost the connection (%s); reconnecting", _first_line(cause))
        deadline = time.monotonic() + self._reconnect_seconds
        # Short attempts, so that SIGTERM is heard while the server is away.
        patience = self._settings.model_copy(update={"db_wait_seconds": 1.0})
        while True:
            try:
                self._connection = self._connect(patience, quiet=True)
                # Whoever holds the lock now may be our own lost session, still at its COMMIT.
                # When we have it, that session is over, and what the table says is final.
                self._lock(max(deadline - time.monotonic(), LOCK_SECONDS))
                self.last_id = self._read_last_id()
            except (psycopg.OperationalError, WorkFailedError) as exc:
                self._connection.close()
                if self._stopping():
                    raise StoppedError from exc
                if time.monotonic() > deadline:
                    raise WorkFailedError(
                        f"could not go on within {self._reconnect_seconds:g} s "
                        f"({_first_line(exc)}); rows up to id {self.last_id} are safe, start the "
                        "generator again and it goes on from there"
                    ) from exc
                time.sleep(0.2)
            else:
                log.info("connected again; the table ends with id %d", self.last_id)
                return


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n", 1)[0]
