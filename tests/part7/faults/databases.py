"""Trouble with a database that is real: nothing here pretends to be SQLite or PostgreSQL.

locked      another connection is in the middle of a write.
read-only   SQLite: the files are immutable for the kernel (`chattr +i`), so that also a file that
            is open already takes no write; SQLite calls it an I/O error. Needs root and ext4.
            PostgreSQL: the database allows only transactions that read, as after a failover to a
            standby; connections that are open are ended.
full        SQLite: a file system of a few megabytes in memory, in a mount namespace of its own, in
            which something else takes the rest. Needs Linux with user namespaces.
away        PostgreSQL: a proxy before it breaks every connection and takes no new one.
"""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy.engine import make_url

from tests.conftest import clean_environment
from tests.faults import Proxy
from tests.part7.faults.cells import Database, Engine, Place
from tests.part7.servers import PART, ChatProcess, Fake, free_port
from tests.waiting import wait_for

DISK = "4m"


class Trouble(Protocol):
    """A database that can be brought into trouble and out of it."""

    url: str
    prefix: list[str]  # of the command that runs the server

    def begin(self) -> None:
        """From now on it takes no write."""

    def end(self) -> None:
        """It is as before; harmless if there was nothing."""


class Nothing:
    """A database without trouble."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix: list[str] = []

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass


class Locked(Nothing):
    """SQLite, with somebody else's write in the middle."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._other: sqlite3.Connection | None = None

    def begin(self) -> None:
        file = make_url(self.url).database or ""
        self._other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._other.execute("PRAGMA busy_timeout = 60000")
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        if self._other is not None:
            self._other.close()
            self._other = None


class Immutable(Nothing):
    """SQLite in files that the kernel protects."""

    def begin(self) -> None:
        subprocess.run(["chattr", "+i", *self._files()], check=True)

    def end(self) -> None:
        subprocess.run(["chattr", "-i", *self._files()], check=True)

    def _files(self) -> list[str]:
        file = make_url(self.url).database or ""
        return [name for name in (file, f"{file}-wal") if Path(name).exists()]


class SmallDisk(Nothing):
    """SQLite on a small file system, which only processes that enter its namespace see."""

    def __init__(self, migrated: Path, folder: Path) -> None:
        mount = folder / "disk"
        mount.mkdir()
        super().__init__(f"sqlite:///{mount}/chat.db")
        self._holder = subprocess.Popen(_with_disk(mount, "exec sleep infinity"))
        inside = Path(f"/proc/{self._holder.pid}/root{mount}")
        self._ballast = inside / "ballast"
        outside = mount.stat().st_dev
        wait_for(lambda: inside.stat().st_dev != outside or self._holder.poll() is not None)
        assert self._holder.poll() is None
        shutil.copy(migrated, inside / "chat.db")
        self._log = inside / "chat.db-wal"
        self.prefix = [
            *("nsenter", f"--target={self._holder.pid}", "--user", "--mount"),
            "--preserve-credentials",
        ]

    def begin(self) -> None:
        # Over 1,000 pages SQLite would begin anew in the file that it has, and need no room.
        assert self._log.stat().st_size < 4_000_000
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                return
        raise AssertionError("the disk is not full")

    def end(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """The file system goes with the last process that sees it."""
        self._holder.kill()
        self._holder.wait()


class Away(Nothing):
    """PostgreSQL behind a proxy."""

    def __init__(self, url: str) -> None:
        place = make_url(url)
        assert place.port is not None
        self._proxy = Proxy(place.port)
        self._proxy.start()
        behind = place.set(port=self._proxy.port)
        super().__init__(behind.render_as_string(hide_password=False))

    def begin(self) -> None:
        self._proxy.cut()

    def end(self) -> None:
        if self._proxy.was_cut:
            self._proxy.start()

    def remove(self) -> None:
        """Listen no more."""
        self._proxy.cut()


class ReadOnlyPostgres(Nothing):
    """PostgreSQL that only answers questions."""

    def begin(self) -> None:
        self._allow_writing("on")

    def end(self) -> None:
        self._allow_writing("off")

    def _allow_writing(self, read_only: str) -> None:
        place = make_url(self.url).set(drivername="postgresql")
        address = place.render_as_string(hide_password=False)
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(address, autocommit=True, options=options) as connection:
            connection.execute(
                f"ALTER DATABASE {place.database} SET default_transaction_read_only = {read_only}"
            )
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@cache
def why_impossible(database: Database) -> str | None:
    """Why this machine cannot bring a SQLite file into this trouble; None if it can."""
    if database is Database.READ_ONLY and not _works(["chattr", "-i", __file__]):
        return "no root, or a file system that knows no immutable files"
    if database is Database.FULL and not _works(_with_disk(Path("/tmp"), "true")):
        return "no user namespaces in which to mount"
    return None


@contextmanager
def database_for(
    place: Place, folder: Path, migrated: Path, postgresql: Callable[[], str]
) -> Iterator[Trouble]:
    """A database with all tables that can be brought into the trouble of `place`."""
    if place.database is Database.FULL:
        disk = SmallDisk(migrated, folder)
        try:
            yield disk
        finally:
            disk.remove()
        return
    if place.database is Database.AWAY:
        away = Away(postgresql())
        try:
            yield away
        finally:
            away.remove()
        return
    if place.engine is Engine.POSTGRESQL:
        read_only = place.database is Database.READ_ONLY
        yield ReadOnlyPostgres(postgresql()) if read_only else Nothing(postgresql())
        return
    file = folder / "chat.db"
    shutil.copy(migrated, file)
    kinds: dict[Database, type[Nothing]] = {
        Database.NORMAL: Nothing,
        Database.LOCKED: Locked,
        Database.READ_ONLY: Immutable,
    }
    made = kinds[place.database](f"sqlite:///{file}")
    try:
        yield made
    finally:
        made.end()  # or nobody could remove the files


@dataclass
class NamespacedChat(ChatProcess):
    """The chat server as a process that sees the small disk."""

    prefix: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Run it, and wait until it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        enter = [*self.prefix, f"--wd={PART}"] if self.prefix else []
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*enter, sys.executable, "-m", "serve.main"],
                cwd=PART,
                env=clean_environment() | self.environ | {"CHAT_PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )
        wait_for(lambda: self._said("Uvicorn running", before) or self.ended)
        assert not self.ended, self.log.read_text()


@contextmanager
def server_on(
    trouble: Trouble, fake: Fake, folder: Path, **variables: str
) -> Iterator[ChatProcess]:
    """The chat server as a process, where its database is."""
    environ = {
        "DATABASE_URL": trouble.url,
        "LLM_BASE_URL": fake.url,
        "MLFLOW_TRACKING_URI": "",  # it is not the learner's to be filled with these turns
    } | variables
    chat = NamespacedChat(
        free_port(), environ=environ, log=folder / "chat.log", prefix=trouble.prefix
    )
    try:
        chat.start()
        yield chat
    finally:
        chat.client.close()
        if not chat.ended:
            chat.kill()


def _with_disk(mount: Path, command: str) -> list[str]:
    script = f'mount -t tmpfs -o size={DISK} none "$1" && {command}'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(mount)]


def _works(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
