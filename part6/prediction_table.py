"""The table `iris_prediction`: what was asked, what was answered, by which version, how fast."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import psycopg
from numpy.typing import NDArray

from part6.iris import FEATURES
from part6.settings import Settings

CREATE = f"""
    CREATE TABLE IF NOT EXISTS iris_prediction (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        timestamp timestamptz NOT NULL,
        {", ".join(f"{name} double precision NOT NULL" for name in FEATURES)},
        iris_class integer NOT NULL,
        model_version integer NOT NULL,
        latency_ms double precision NOT NULL
    )
"""
# The monitor asks for the newest rows of one version.
INDEX = """
    CREATE INDEX IF NOT EXISTS iris_prediction_model_version_id
    ON iris_prediction (model_version, id)
"""
# Of the newest only: no other server has written a million since our commit.
WRITTEN = """
    SELECT FROM iris_prediction
    WHERE id > (SELECT max(id) FROM iris_prediction) - 1000000
    AND xmin = %s::xid8::xid AND latency_ms = %s AND sepal_length = %s AND petal_length = %s
    LIMIT 1
"""
COPY = f"""
    COPY iris_prediction (timestamp, {", ".join(FEATURES)}, iris_class, model_version, latency_ms)
    FROM STDIN (FORMAT BINARY)
"""
# PostgreSQL's binary COPY format, see "Binary Format" in its manual's page on COPY. Every column
# has a fixed width, so a row is a C struct and a batch is an array of them.
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)  # signature, flags, length of the header extension
TRAILER = b"\xff\xff"
COLUMNS = (
    ("timestamp", ">i8"),
    *((name, ">f8") for name in FEATURES),
    ("iris_class", ">i4"),
    ("model_version", ">i4"),
    ("latency_ms", ">f8"),
)
# A row is the number of fields, then each field as its size in bytes and its big-endian value.
ROW = np.dtype(
    [("fields", ">i2"), *(part for n, t in COLUMNS for part in ((f"{n}_size", ">i4"), (n, t)))]
)
BLANK = np.array(
    (len(COLUMNS), *(part for _, t in COLUMNS for part in (np.dtype(t).itemsize, 0))), ROW
).tobytes()
EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # of PostgreSQL, which counts microseconds

# What a request leaves behind is packed, too, but only its eight numbers, the time in seconds since
# 1970: what else a row takes is added to thousands of them at once, by NumPy, later.
PACKED = np.dtype([("timestamp", "=f8"), *((n, t.replace(">", "=")) for n, t in COLUMNS[1:])])
ONE = struct.Struct("=5d2id")  # PACKED as the module struct writes it


def pack_one(
    at: float, row: Sequence[float], iris_class: int, model_version: int, latency_ms: float
) -> bytes:
    """Pack one row (4,) in cm that was answered at `at` s since 1970."""
    return ONE.pack(at, *row, iris_class, model_version, latency_ms)


def pack(
    at: float,
    rows: NDArray[np.float64],
    classes: NDArray[np.int64],
    model_version: int,
    latency_ms: float,
) -> bytes:
    """Pack the rows (n, 4) in cm and classes (n,) of one request."""
    packed = np.empty(len(rows), PACKED)
    packed["timestamp"] = at
    for name, values in zip(FEATURES, rows.T, strict=True):
        packed[name] = values
    packed["iris_class"] = classes
    packed["model_version"] = model_version
    packed["latency_ms"] = latency_ms
    return packed.tobytes()


def packed_rows(packed: bytes) -> int:
    """How many rows these are."""
    return len(packed) // ONE.size


class PredictionTable:
    """Writes into the table over a connection that it opens when it needs one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: psycopg.Connection | None = None
        self._unsure: str | None = None  # transaction whose commit was not answered

    def write(self, packed: bytes) -> None:
        """Write all rows of `packed`, or none; call it again with the same after a failure.

        Raises:
            psycopg.Error: the database is away or refused.
        """
        try:
            connection = self._connected()
            if self._is_written(connection, packed):
                return
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id()::text")
                (transaction,) = cursor.fetchone() or ("",)
                with cursor.copy(COPY) as copy:
                    copy.write(HEADER + encode(packed) + TRAILER)
            self._unsure = transaction
            connection.commit()
            self._unsure = None
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _is_written(self, connection: psycopg.Connection, packed: bytes) -> bool:
        """Whether the commit that got no answer took place all the same."""
        if self._unsure is None:
            return False
        try:
            status = connection.execute(
                "SELECT pg_xact_status(%s::xid8)", [self._unsure]
            ).fetchone()
        except psycopg.errors.InvalidParameterValue:  # the server crashed and never heard of it
            status = None
            connection.rollback()
        if status == ("in progress",):  # the server has not noticed yet that we are gone
            raise psycopg.OperationalError("the last commit is still going on")
        written = False
        if status == ("committed",):
            # After a crash a number that never reached the disk is given again, to anybody.
            first = np.frombuffer(packed, PACKED, 1)[0]
            values = (first[n].item() for n in ("latency_ms", "sepal_length", "petal_length"))
            found = connection.execute(WRITTEN, [self._unsure, *values]).fetchone()
            written = found is not None
        connection.commit()
        self._unsure = None
        return written

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = psycopg.connect(
                host=self._settings.postgres_host,
                port=self._settings.postgres_port,
                user=self._settings.postgres_user,
                password=self._settings.postgres_password.get_secret_value(),
                dbname=self._settings.postgres_db,
                connect_timeout=3,
                # A machine that is gone without a farewell is noticed in seconds, not in hours.
                keepalives_idle=5,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=15_000,
                application_name="part6",
            )
            # Two servers that start at once: the second waits and finds the table there.
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext('iris_prediction'))")
            self._connection.execute(CREATE)
            self._connection.execute(INDEX)
            self._connection.commit()
        return self._connection


def encode(packed: bytes) -> bytearray:
    """The rows as COPY takes them."""
    rows = np.frombuffer(packed, PACKED)
    encoded = bytearray(BLANK * len(rows))
    fields = np.frombuffer(encoded, ROW)
    for name, _ in COLUMNS:
        fields[name] = rows[name]
    fields["timestamp"] = np.rint((rows["timestamp"] - EPOCH) * 1e6)
    return encoded
