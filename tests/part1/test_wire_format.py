"""Rows encoded by NumPy are, in PostgreSQL, exactly the rows that were drawn."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from part1.draw import IrisStream
from part1.wire import COPY, PIECE, Encoder
from tests.conftest import Database
from tests.part1.generator import expected_measurements, ids, measurements


@pytest.mark.parametrize(("first", "count"), [(1, 1), (7, 300), (PIECE - 1, PIECE + 3)])
def test_a_batch_comes_back_as_it_was_drawn(iris_table: Database, first: int, count: int) -> None:
    start = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)
    timestamps = int(start.timestamp()) * 1_000_000 + 123456 + np.arange(count) * 7
    with iris_table.connect() as connection:
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for piece in Encoder(IrisStream(5)).rows(first, timestamps):
                copy.write(piece)
        assert ids(connection) == list(range(first, first + count))
        assert measurements(connection) == expected_measurements(first, count, seed=5)
        written = connection.execute("SELECT timestamp FROM iris_data ORDER BY id").fetchall()
    assert written == [(start + timedelta(microseconds=7 * n),) for n in range(count)]


def test_dates_before_the_year_2000_are_right_too(iris_table: Database) -> None:
    with iris_table.connect() as connection:
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for piece in Encoder(IrisStream(5)).rows(1, np.array([0, -1])):
                copy.write(piece)
        found = connection.execute("SELECT timestamp FROM iris_data ORDER BY id").fetchall()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert found == [(epoch,), (epoch - timedelta(microseconds=1),)]
