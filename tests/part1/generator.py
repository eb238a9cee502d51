"""A data generator that runs beside the test, and what its table must hold."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psycopg

from part1.draw import IrisStream
from tests.conftest import ROOT, clean_environment
from tests.waiting import PATIENCE

SEED = 2022
ROWS = "SELECT sepal_length, sepal_width, petal_length, petal_width, target FROM iris_data"


class RunningGenerator:
    """`python -m part1.data_generator ARGS` in the background; killed when the block ends."""

    def __init__(self, env: dict[str, str], log: Path, *args: str) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "part1.data_generator", *args],
                cwd=ROOT,
                env=clean_environment() | env,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> "RunningGenerator":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, is_true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert self.process.poll() is None, f"the generator ended early:\n{self.log}"
            assert time.monotonic() < deadline, f"no {what} after {seconds} s:\n{self.log}"
            time.sleep(0.02)

    def wait_for_rows(self, connection: psycopg.Connection, count: int) -> None:
        self.wait_for(lambda: count_rows(connection) >= count, f"{count} rows")

    def wait_for_log(self, words: str) -> None:
        self.wait_for(lambda: words in self.log, f"{words!r} in the log")

    def wait_for_lock(self, connection: psycopg.Connection) -> int:
        """Wait until the generator has the table; return the pid of its backend."""
        self.wait_for(lambda: backend(connection) is not None, "lock")
        found = backend(connection)
        assert found is not None
        return found

    def terminate(self) -> int:
        """SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)


def count_rows(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT count(*) FROM iris_data").fetchone()
    assert found is not None
    return int(found[0])


def backend(connection: psycopg.Connection) -> int | None:
    """The backend that holds the generator's advisory lock in this database."""
    found = connection.execute(
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    ).fetchone()
    return None if found is None else int(found[0])


def ids(connection: psycopg.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM iris_data ORDER BY id")]


def measurements(connection: psycopg.Connection) -> list[tuple[float, ...]]:
    return connection.execute(f"{ROWS} ORDER BY id").fetchall()


def expected_measurements(first: int, count: int, seed: int = SEED) -> list[tuple[float, ...]]:
    stream = IrisStream(seed)
    flowers = stream.flowers(first, count)
    return [
        (*features, label)
        for features, label in zip(
            stream.features[flowers].tolist(), stream.labels[flowers].tolist(), strict=True
        )
    ]


def assert_exactly_once(connection: psycopg.Connection, seed: int = SEED) -> int:
    """The table is the beginning of the stream: no gap, no duplicate, no other row."""
    found = ids(connection)
    assert found == list(range(1, len(found) + 1))
    assert measurements(connection) == expected_measurements(1, len(found), seed)
    return len(found)
