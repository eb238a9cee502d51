"""The database as the services see it: a function that takes a session is one transaction.

    reply = await database.write(lambda session: replies.finish(session, ...))

Sessions live in threads, and a whole transaction is one visit to a thread. (With an async driver
every statement is one; measured on SQLite, a turn cost sixteen times the processor time.) SQLite
has one writer, so its writes queue for one thread, which commits those that have gathered together:
one fsync for all of them. When one fails, all are undone and each half is tried again, until that
one is alone. PostgreSQL gets a thread and a transaction for each.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from serve.core import metrics
from serve.core.errors import DatabaseAwayError, DatabaseFullError

BUSY_SECONDS = 5.0  # for which SQLite waits for another process to finish its write
READERS = 4
POOL = 10
TOGETHER = 64  # writes that share a commit; more would keep the first one waiting
ATTEMPTS = 3  # of a transaction that PostgreSQL broke off because of another one

type Work[T] = Callable[[Session], T]


@dataclass
class _Waiting:
    """A write in the queue, and who waits for it."""

    work: Work[Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Database:
    """Reads and writes of one database, from the event loop."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        self._pool = ThreadPoolExecutor(READERS if self.is_sqlite else POOL, "database")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="writer", daemon=True)
        if self.is_sqlite:
            self._writer.start()

    async def read[T](self, work: Work[T]) -> T:
        """Run `work` in a transaction that changes nothing.

        Raises:
            DatabaseAwayError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(self._read, work))

    async def write[T](self, work: Work[T]) -> T:
        """Run `work` in a transaction and commit it.

        Once called, it is carried out, also when the caller is cancelled while it waits.

        Raises:
            DatabaseAwayError: the database does not take it; nothing was changed.
        """
        loop = asyncio.get_running_loop()
        if not self.is_sqlite:
            return await loop.run_in_executor(self._pool, partial(self._write_alone, work))
        waiting = _Waiting(work, loop.create_future(), loop)
        self._queue.put(waiting)
        result: T = await waiting.future
        return result

    def close(self) -> None:
        """Finish what was asked for, and give the connections back."""
        if self.is_sqlite:
            self._queue.put(None)
            self._writer.join()
        self._pool.shutdown()
        self.engine.dispose()

    def _read[T](self, work: Work[T]) -> T:
        begun = time.perf_counter()
        try:
            with Session(self.engine) as session:
                return work(session)
        except (DBAPIError, PoolTimeoutError) as exc:
            raise _explained(exc) from exc
        finally:
            metrics.DATABASE_SECONDS.labels("read").observe(time.perf_counter() - begun)

    def _write_alone[T](self, work: Work[T]) -> T:
        begun = time.perf_counter()
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with Session(self.engine) as session, session.begin():
                        return work(session)
                except DBAPIError as exc:
                    again = getattr(exc.orig, "sqlstate", "") in {"40001", "40P01"}
                    if not again or attempt == ATTEMPTS:
                        raise _explained(exc) from exc
                except PoolTimeoutError as exc:
                    raise _explained(exc) from exc
            raise AssertionError("the last attempt returns or raises")
        finally:
            metrics.DATABASE_SECONDS.labels("write").observe(time.perf_counter() - begun)

    def _write_all(self) -> None:
        """The life of SQLite's writer."""
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < TOGETHER and not self._queue.empty():
                if (waiting := self._queue.get()) is None:
                    last = True
                    break
                batch.append(waiting)
            begun = time.perf_counter()
            outcomes = self._commit_together([each.work for each in batch])
            seconds = time.perf_counter() - begun
            metrics.DATABASE_SECONDS.labels("write").observe(seconds)
            batch[0].loop.call_soon_threadsafe(_tell, batch, outcomes)
            if last:
                return

    def _commit_together(self, works: list[Work[Any]]) -> list[Any]:
        """Results, or the exceptions in their place."""
        try:
            with Session(self.engine) as session, session.begin():
                return [work(session) for work in works]
        except OperationalError as exc:  # the database's fault: nobody's write has happened
            return [_explained(exc)] * len(works)
        except Exception as exc:  # noqa: BLE001 - it is the caller's, and raised there
            if len(works) == 1:
                return [_explained(exc)]
        half = len(works) // 2
        return self._commit_together(works[:half]) + self._commit_together(works[half:])


def _tell(batch: list[_Waiting], outcomes: list[Any]) -> None:
    for each, outcome in zip(batch, outcomes, strict=True):
        if each.future.cancelled():
            continue
        if isinstance(outcome, Exception):
            each.future.set_exception(outcome)
        else:
            each.future.set_result(outcome)


def _explained(exc: Exception) -> Exception:
    """Say in the domain's words that a database is away, locked or full; leave the rest alone."""
    if isinstance(exc, PoolTimeoutError):
        return DatabaseAwayError("the database has no connection free; try again")
    if not isinstance(exc, OperationalError | InterfaceError | InternalError):
        return exc
    said = str(exc.orig).strip().split("\n", 1)[0]
    if "full" in said or "No space" in said:
        return DatabaseFullError("the disk of the database is full; nothing was changed")
    if "locked" in said or "busy" in said:
        return DatabaseAwayError("another program holds the database; nothing was changed")
    if "readonly" in said or "read-only" in said:
        return DatabaseAwayError("the database can only be read; nothing was changed")
    return DatabaseAwayError("the database does not answer; try again")


def _postgresql(place: URL) -> Engine:
    return create_engine(
        place.set(drivername="postgresql+psycopg"),
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,  # a connection that died while nobody used it is replaced unseen
        connect_args={
            "connect_timeout": 3,
            "tcp_user_timeout": 10_000,  # ms; a host that vanished does not hold a request longer
            "options": "-c statement_timeout=10000",
            "application_name": "part7",
        },
    )


def _sqlite(place: URL) -> Engine:
    Path(place.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        place,
        pool_size=READERS + 1,
        max_overflow=0,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin below, and not by guessing
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")  # readers beside a writer
        cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut, too
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A writer takes the lock before it reads, or it might have to give up what it has read.
        writes = threading.current_thread().name == "writer"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
