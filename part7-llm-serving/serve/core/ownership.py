"""Who writes a reply, and whether that server is still alive. No clock is asked.

Every server holds a lock that the operating system, or PostgreSQL, releases when it dies, however
it dies. A reply that is `streaming` names its owner; who can take the owner's lock knows that
nobody will finish that reply.
"""

import secrets
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import func

from serve.database import Database


class Ownership(Protocol):
    """The lock of this server, and a way to try those of others."""

    name: str

    def hold(self) -> None:
        """Take, or take back, the lock of this server."""

    def is_alive(self, owner: str) -> bool:
        """Whether somebody holds the lock of `owner`."""

    def release(self) -> None:
        """Give the lock back."""


def ownership(database: Database) -> Ownership:
    """The locks that fit the database."""
    if database.is_sqlite:
        return _Files(Path(f"{database.url.database}.owners"))
    return _AdvisoryLocks(database.engine)


class _Files:
    """Locked files beside the SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(8)
        self._folder = folder
        # Of the server, and not of the thread that happens to take it.
        self._lock = FileLock(folder / self.name, thread_local=False)

    def hold(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(blocking=False)

    def is_alive(self, owner: str) -> bool:
        if owner == self.name:
            return True
        file = self._folder / owner
        if not file.exists():
            return False
        try:
            with FileLock(file, timeout=0):
                file.unlink(missing_ok=True)
                return False
        except Timeout:
            return True

    def release(self) -> None:
        (self._folder / self.name).unlink(missing_ok=True)
        self._lock.release(force=True)  # it was taken again and again


class _AdvisoryLocks:
    """Advisory locks of a connection that is kept for them alone."""

    def __init__(self, engine: Engine) -> None:
        self.name = str(secrets.randbits(62))
        self._engine = engine
        self._held: Connection | None = None

    def hold(self) -> None:
        """Take the lock on a new connection, unless the old one still has it."""
        if self._held is not None:
            try:
                self._held.scalar(select(1))
                self._held.rollback()
            except DBAPIError:
                self._held.invalidate()
                self._held.close()
                self._held = None
            else:
                return
        # Detached, so that the pool's places are all there for transactions.
        connection = self._engine.connect()
        connection.detach()
        connection.scalar(select(func.pg_advisory_lock(int(self.name))))
        connection.commit()
        self._held = connection

    def is_alive(self, owner: str) -> bool:
        if owner == self.name:
            return True
        with self._engine.connect() as connection:
            # The lock of a transaction: its end gives it back.
            free = connection.scalar(select(func.pg_try_advisory_xact_lock(int(owner))))
            connection.rollback()
        return not free

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
