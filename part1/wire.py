"""Rows of iris_data in PostgreSQL's binary COPY format, a whole batch at a time.

Every column has a fixed width, so a row is a C struct and a batch is a NumPy array of them:
no Python code runs per row. Format: "Binary Format" in the PostgreSQL manual's page on COPY.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from part1.draw import IrisStream
from part1.schema import FEATURES

COPY = f"COPY iris_data (id, timestamp, {', '.join(FEATURES)}, target) FROM STDIN (FORMAT BINARY)"
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)  # signature, flags, length of the header extension
TRAILER = b"\xff\xff"

# PostgreSQL counts microseconds from the year 2000, Python from 1970.
EPOCH_OFFSET = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
# Rows per piece handed to the socket: 700 kB, enough that the cost of a call disappears.
PIECE = 8192

_COLUMNS = (("id", ">i8"), ("timestamp", ">i8"), *((n, ">f8") for n in FEATURES), ("target", ">i4"))
# A row is the number of fields, then each field as its size in bytes and its big-endian value.
ROW = np.dtype(
    [("fields", ">i2"), *(part for n, t in _COLUMNS for part in ((f"{n}_size", ">i4"), (n, t)))]
)


class Encoder:
    """Turns positions in the stream into bytes for COPY."""

    def __init__(self, stream: IrisStream) -> None:
        self._stream = stream
        self._flowers = np.zeros(len(stream.labels), dtype=ROW)
        self._flowers["fields"] = len(_COLUMNS)
        for name, kind in _COLUMNS:
            self._flowers[f"{name}_size"] = np.dtype(kind).itemsize
        for column, name in enumerate(FEATURES):
            self._flowers[name] = stream.features[:, column]
        self._flowers["target"] = stream.labels

    def rows(self, first_id: int, timestamps: NDArray[np.int64]) -> Iterator[bytes]:
        """The rows from `first_id` on, one per timestamp (microseconds since 1970), in pieces."""
        yield HEADER
        for start in range(0, len(timestamps), PIECE):
            piece = timestamps[start : start + PIECE]
            ids = np.arange(first_id + start, first_id + start + len(piece))
            batch = self._flowers[self._stream.flowers(int(ids[0]), len(piece))]
            batch["id"] = ids
            batch["timestamp"] = piece - EPOCH_OFFSET
            yield batch.tobytes()
        yield TRAILER
