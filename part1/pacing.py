"""When rows are due: at a rate, or as fast as possible."""

import logging
import threading
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from part1.table_writer import TableWriter
from part1.wire import Encoder

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
# Rows in one transaction at the most. For --bulk: a crash loses less than a second's work, and
# a commit costs nothing. For a stream: how much is caught up at once after the server was away.
MAX_BATCH = 131_072


def stream(
    writer: TableWriter,
    encoder: Encoder,
    *,
    rate: float,
    count: int | None,
    batch_size: int,
    flush_interval: float,
    stop: threading.Event,
) -> None:
    """Write `rate` rows per second until `count` rows are written or `stop` is set.

    Row k is due k / rate seconds after the start, and that is its timestamp, however late it is
    written. Rows that are due are written when `batch_size` of them wait or `flush_interval`
    seconds have passed since the last write, whichever comes first.
    """
    started, started_us = time.monotonic(), time.time_ns() // 1000
    last_flush = last_report = started
    written = reported = 0
    while count is None or written < count:
        now = time.monotonic()
        due = int((now - started) * rate) + 1 - written
        if count is not None:
            due = min(due, count - written)
        stopping = stop.is_set()
        complete = count is not None and written + due == count
        overdue = due > 0 and now - last_flush >= flush_interval
        if due >= batch_size or overdue or complete or stopping:
            due = min(due, MAX_BATCH)
            if due > 0:
                offsets = np.arange(written, written + due) * (1e6 / rate)
                writer.append(encoder, started_us + offsets.astype(np.int64))
                written, last_flush = written + due, now
            if stopping:
                return
        if now - last_report >= REPORT_SECONDS:
            speed = (written - reported) / (now - last_report)
            log.info("%s rows written, %.4g rows/s", f"{written:,}", speed)
            last_report, reported = now, written
        next_row = started + written / rate
        batch_full = started + (written + batch_size - 1) / rate
        wake = min(batch_full, max(last_flush + flush_interval, next_row))
        if count is not None:
            wake = min(wake, max(started + (count - 1) / rate, next_row))
        stop.wait(max(wake - time.monotonic(), 0.0))


def bulk(writer: TableWriter, encoder: Encoder, count: int, stop: threading.Event) -> None:
    """Write `count` rows as fast as the server takes them, in transactions of MAX_BATCH rows."""
    columns = (TextColumn("writing rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    written = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=count)
        while written < count and not stop.is_set():
            size = min(MAX_BATCH, count - written)
            # One microsecond apart: timestamps stay unique, as they are in a slow stream.
            writer.append(encoder, time.time_ns() // 1000 + np.arange(size))
            written += size
            progress.update(task, completed=written)
