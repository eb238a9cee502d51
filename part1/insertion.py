"""Six ways to bring the same rows into iris_data, from the slowest to the fastest."""

import csv
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import psycopg2.extensions
from numpy.typing import NDArray
from psycopg2.extras import execute_values
from sqlalchemy import Engine, MetaData

from part1.command import WorkFailedError
from part1.database import connect, engine
from part1.draw import IrisStream
from part1.schema import FEATURES, iris_data
from part1.settings import Settings
from part1.wire import COPY, Encoder

type Row = tuple[int, datetime, float, float, float, float, int]
type Psycopg2 = psycopg2.extensions.connection

COLUMNS = f"id, timestamp, {', '.join(FEATURES)}, target"
INSERT = f"INSERT INTO iris_data ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 1000
# A schema of its own: the table has the real name, constraints and index, and is still not yours.
SCRATCH = "insert_methods"


@dataclass(frozen=True)
class Rows:
    """The rows to insert: as Python objects, and as places in the stream for NumPy."""

    tuples: list[Row]
    timestamps: NDArray[np.int64]  # microseconds since 1970
    encoder: Encoder


def draw_rows(count: int, seed: int) -> Rows:
    """Draw the first `count` rows of a stream."""
    stream = IrisStream(seed)
    timestamps = time.time_ns() // 1000 + np.arange(count)
    flowers = stream.flowers(1, count)
    measured = stream.features[flowers].tolist()
    labels = stream.labels[flowers].tolist()
    tuples = [
        (n + 1, EPOCH + timedelta(microseconds=us), *measured[n], labels[n])
        for n, us in enumerate(timestamps.tolist())
    ]
    return Rows(tuples, timestamps, Encoder(stream))


def commit_per_row(connection: Psycopg2, rows: Rows) -> None:
    """One statement and one commit per row: every row waits for the network and the disk."""
    with connection.cursor() as cursor:
        for row in rows.tuples:
            cursor.execute(INSERT, row)
            connection.commit()


def executemany(connection: Psycopg2, rows: Rows) -> None:
    """One commit, but psycopg2 still sends one statement per row and waits for each answer."""
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows.tuples)
    connection.commit()


def multi_row_values(connection: Psycopg2, rows: Rows) -> None:
    """A thousand rows per statement: no waiting, but every value is still parsed as SQL."""
    with connection.cursor() as cursor:
        statement = f"INSERT INTO iris_data ({COLUMNS}) VALUES %s"  # noqa: S608
        execute_values(cursor, statement, rows.tuples, page_size=PAGE)
    connection.commit()


def copy_csv(connection: Psycopg2, rows: Rows) -> None:
    """COPY: no SQL any more, only text that the server turns into numbers."""
    text = io.StringIO()
    csv.writer(text).writerows(rows.tuples)
    text.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY iris_data ({COLUMNS}) FROM STDIN (FORMAT csv)", text)
    connection.commit()


def copy_binary(connection: psycopg.Connection, rows: Rows) -> None:
    """Binary COPY: the server reads numbers as they are; Python still handles every row."""
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(["int8", "timestamptz", *["float8"] * len(FEATURES), "int4"])
        for row in rows.tuples:
            copy.write_row(row)


def copy_numpy(connection: psycopg.Connection, rows: Rows) -> None:
    """Binary COPY of whole batches that NumPy encodes, as the data generator does."""
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for piece in rows.encoder.rows(1, rows.timestamps):
            copy.write(piece)


PSYCOPG2: dict[str, Callable[[Psycopg2, Rows], None]] = {
    "commit per row": commit_per_row,
    "executemany": executemany,
    f"execute_values ({PAGE})": multi_row_values,
    "COPY CSV": copy_csv,
}
PSYCOPG3: dict[str, Callable[[psycopg.Connection, Rows], None]] = {
    "binary COPY": copy_binary,
    "binary COPY, NumPy": copy_numpy,
}
METHODS = (*PSYCOPG2, *PSYCOPG3)


@dataclass(frozen=True)
class Scratch:
    """A schema that only this run uses; it holds one fresh iris_data at a time."""

    settings: Settings
    control: psycopg.Connection
    engine: Engine
    _table: MetaData = field(default_factory=MetaData)

    def measure(self, method: str, rows: Rows) -> tuple[float, tuple[int, int]]:
        """Insert `rows` into a fresh table; return the seconds and what the table holds then."""
        self._table.drop_all(self.engine)
        self._table.create_all(self.engine)
        if method in PSYCOPG2:
            with self.engine.connect() as pooled:
                plain = pooled.connection.driver_connection
                assert isinstance(plain, psycopg2.extensions.connection)
                with plain.cursor() as cursor:
                    cursor.execute(f"SET search_path TO {SCRATCH}")
                plain.commit()
                begun = time.perf_counter()
                PSYCOPG2[method](plain, rows)
                seconds = time.perf_counter() - begun
        else:
            with connect(self.settings, autocommit=True) as connection:
                connection.execute(f"SET search_path TO {SCRATCH}")
                begun = time.perf_counter()
                PSYCOPG3[method](connection, rows)
                seconds = time.perf_counter() - begun
        return seconds, self._contents()

    def _contents(self) -> tuple[int, int]:
        """Number of rows and a sum of hashes over all columns, the same for the same rows."""
        found = self.control.execute(
            f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "  # noqa: S608
            f"FROM {SCRATCH}.iris_data t"
        ).fetchone()
        assert found is not None
        return int(found[0]), int(found[1])


@contextmanager
def scratch(settings: Settings) -> Iterator[Scratch]:
    """A fresh schema, dropped again in the end; what a killed run left behind goes first.

    Raises:
        WorkFailedError: another run of the lesson is at work in the same database.
    """
    with connect(settings, autocommit=True) as control:
        locked = control.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (SCRATCH,)).fetchone()
        if locked != (True,):
            raise WorkFailedError(
                f"another insert_methods runs in database {settings.postgres_db!r}; two would "
                "slow each other down, wait for it to end"
            )
        drop = f"DROP SCHEMA IF EXISTS {SCRATCH} CASCADE"
        control.execute("SET client_min_messages TO warning")  # not what is dropped along with it
        control.execute(drop)
        control.execute(f"CREATE SCHEMA {SCRATCH}")
        made = Scratch(settings, control, engine(settings))
        iris_data.to_metadata(made._table, schema=SCRATCH)
        try:
            yield made
        finally:
            made.engine.dispose()
            control.execute(drop)
