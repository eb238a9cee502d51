"""Write every prediction into the database, without a request ever waiting for it.

A request leaves its rows in a queue in memory; a thread writes what has gathered, a batch at a
time. While the database is away rows wait, up to a bound; what comes on top is dropped, counted
and said in the log.
"""

import threading
import time
from collections import deque

import psycopg
import structlog

from part6 import metrics
from part6.prediction_table import PredictionTable, packed_rows

log = structlog.get_logger()

FLUSH_SECONDS = 0.5
FLUSH_ROWS = 5000  # so many are not kept waiting
RETRY_SECONDS = 2.0
DRAIN_SECONDS = 10.0
SAY_SECONDS = 10.0  # how often the log repeats that rows are dropped


class Recorder:
    """A bounded queue of predictions and the thread that empties it into `table`.

    `record` is called from one thread only, the event loop's.
    """

    def __init__(self, table: PredictionTable, max_rows: int) -> None:
        self._table = table
        self._max_rows = max_rows
        self._queue: deque[bytes] = deque()
        # Each counter has one writer, so that neither thread waits for the other.
        self._added = self._taken = 0
        self._dropped = self._dropped_said = 0
        self._said_at = 0.0
        self._stopping = threading.Event()
        self._full = threading.Event()  # a batch is waiting; or there will be no more
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        metrics.WAITING.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return self._added - self._taken

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def record(self, packed: bytes) -> None:
        """Leave the rows of one request, as `pack` packs them, to be written; never waits."""
        rows = packed_rows(packed)
        waiting = self.waiting + rows
        if waiting > self._max_rows:
            self._drop(rows)
            return
        self._added += rows
        self._queue.append(packed)
        if waiting >= FLUSH_ROWS:
            self._full.set()

    def close(self) -> int:
        """Write what is left, for a few seconds at the most; return how many rows are lost."""
        self._deadline = time.monotonic() + DRAIN_SECONDS
        self._stopping.set()
        self._full.set()
        # A database that hangs must not hold us, too: the thread ends with the process.
        self._thread.join(DRAIN_SECONDS)
        if self.waiting:
            log.error("predictions lost: the database did not take them", rows=self.waiting)
        return self.waiting

    def _drop(self, rows: int) -> None:
        metrics.DROPPED.inc(rows)
        self._dropped += rows
        if (now := time.monotonic()) - self._said_at >= SAY_SECONDS:
            log.error(
                "predictions dropped: too many wait for the database",
                rows=self._dropped - self._dropped_said,
                waiting=self.waiting,
            )
            self._said_at, self._dropped_said = now, self._dropped

    def _run(self) -> None:
        """Write until everything is written after `close`, or its time is over."""
        failing = False
        batch = b""
        while True:
            stopping = self._stopping.is_set()
            # After a failure the very same rows, because they may have been written all the same.
            batch = batch or self._all_waiting()
            if not batch:
                if stopping:
                    break
                self._gather()
                continue
            try:
                self._table.write(batch)
            except psycopg.Error as exc:
                metrics.RECORD_FAILURES.inc()
                if not failing:
                    log.error(
                        "predictions wait: the database does not take them",
                        reason=(str(exc).strip() or type(exc).__name__).splitlines()[0],
                    )
                failing = True
                if time.monotonic() + RETRY_SECONDS > self._deadline:
                    break
                # While stopping there is no time for long pauses, and `wait` would not wait.
                time.sleep(0.2) if stopping else self._stopping.wait(RETRY_SECONDS)
                continue
            rows = packed_rows(batch)
            batch = b""
            self._taken += rows
            metrics.RECORDED.inc(rows)
            if failing:
                log.info(
                    "predictions are written again", waiting=self.waiting, dropped=self._dropped
                )
                failing = False
            self._gather()
        self._table.close()

    def _gather(self) -> None:
        """Wait for a full batch, but no longer than FLUSH_SECONDS.

        Also after a write: under load somebody has always asked meanwhile, and a commit for these
        few would follow the other.
        """
        self._full.clear()
        if self.waiting < FLUSH_ROWS and not self._stopping.is_set():
            self._full.wait(FLUSH_SECONDS)

    def _all_waiting(self) -> bytes:
        """Take what is in the queue."""
        return b"".join([self._queue.popleft() for _ in range(len(self._queue))])
