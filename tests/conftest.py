"""Fixtures: one real embedded stack for the whole run, a fresh database for every test."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol

import psycopg
import pytest

from course.config import Config
from course.home import Home
from course.services.mlflow_server import MlflowServer
from course.services.object_store import ObjectStore
from course.services.postgres import Postgres
from course.supervisor import Supervisor
from tests import forked
from tests.compose import Compose
from tests.faults import Proxy
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
SHARED_HOME = "COURSE_TEST_HOME"
FORKING = pytest.StashKey["subprocess.Popen[bytes]"]()
OURS = (
    "POSTGRES_",
    "MLFLOW_",
    "MODEL_",
    "RECORD_",
    "AWS_",
    "MINIO_",
    "S3_",
    "COURSE_",
    "DB_WAIT",
    "USERS_",
    "MAX_BODY",
    "CHAT_",
    "DATABASE_URL",
    "DEMO_",
    "DRAIN_",
    "LLM_",
    "ON_DISCONNECT",
    "TRACE_",
    "TUTOR_",
    "PROMETHEUS_",
    "GRAFANA_",
    "LOKI_",
    "PYTEST_",
    "PYTHONDONTWRITE",
)


class RunModule(Protocol):
    """Run `python -m module` as a learner does; with `fresh`, in an interpreter of its own.

    Else tests/forked.py may run it, which says what of an interpreter it does not start anew.
    """

    def __call__(
        self,
        module: str,
        *args: str,
        env: dict[str, str] | None = None,
        check: bool = False,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]: ...


def pytest_configure(config: pytest.Config) -> None:
    """Choose the home of the stack that all workers share; the first fixture starts it."""
    # Several workers share the cores: threads of BLAS that wait by spinning would take the time of
    # the others. NumPy reads these when it is imported, here and in whatever a test starts.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # A child inherits what is ignored, as it is under nohup or behind `&`, and tests send these.
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
            signal.signal(getattr(signal, name), handler)
    if not hasattr(config, "workerinput"):
        os.environ[SHARED_HOME] = tempfile.mkdtemp(prefix="course-test-")
        if forked.POSSIBLE:
            config.stash[FORKING] = forked.start(_forking(), ROOT, clean_environment())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the stack when the last worker is done."""
    if forking := config.stash.get(FORKING, None):
        forking.communicate()
    if not hasattr(config, "workerinput") and (place := os.environ.pop(SHARED_HOME, None)):
        _supervisor(place).down(wipe=True)
        shutil.rmtree(place)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: a third of a test's time it waits for a server or a clock."""
    return min(os.cpu_count() or 1, 7) + 1


@pytest.hookimpl(trylast=True)  # after what -m and -k leave out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Longest first, so that no worker begins a lesson when the others are done.

    xdist begins with one piece of the list for each worker: each piece gets its share of them, a
    lesson or the slow tests of one file at a time, which may have a costly fixture in common.
    """
    items.sort(key=_rank)
    slow = sum(_rank(item) < 2 for item in items)
    shares = [list(share) for _, share in groupby(items[:slow], _share)]
    short = iter(items[slow:])
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    left = len(items)
    items.clear()
    for number in range(workers):
        size = left // (workers - number)
        left -= size
        long = [item for share in shares[number::workers] for item in share]
        items += [*long, *islice(short, max(0, size - len(long)))]
    items += short


def _rank(item: pytest.Item) -> int:
    """0 for a whole lesson, 1 for what is slow, 2 for the rest."""
    if item.get_closest_marker("slow") is None:
        return 2
    return int(item.path.name != "test_lessons.py")


def _share(item: pytest.Item) -> str:
    """What is not divided among workers."""
    return item.nodeid if _rank(item) == 0 else str(item.path)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say why."""
    if item.get_closest_marker("docker") and not docker_answers():
        pytest.skip("no Docker engine answers `docker info`")
    if item.get_closest_marker("browser") and chromium() is None:
        pytest.skip("no Chromium on the PATH")


@cache
def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=PATIENCE, check=False)
    return asked.returncode == 0


def chromium() -> str | None:
    """The system's Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def _forking() -> Path:
    """Where the process of tests/forked.py listens."""
    return Path(os.environ[SHARED_HOME], "forking")


def _supervisor(place: str) -> Supervisor:
    # Far from every default port, so that a stack that the developer runs is left alone.
    config = Config(postgres_port=25432, s3_port=29000, mlflow_port=25001)
    return Supervisor(Home(Path(place).resolve() / ".course"), config)


@dataclass(frozen=True)
class Server:
    """The shared PostgreSQL server."""

    port: int

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A psycopg 3 connection as the learner's user, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="myuser",
            password="mypassword",
            dbname=database,
            autocommit=True,
        )


@dataclass(frozen=True)
class Database:
    """One test's own database."""

    server: Server
    name: str

    def connect(self) -> psycopg.Connection:
        """A psycopg 3 connection in autocommit."""
        return self.server.connect(self.name)

    @property
    def environ(self) -> dict[str, str]:
        """What a script needs in its environment to find this database."""
        return {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.server.port),
            "POSTGRES_USER": "myuser",
            "POSTGRES_PASSWORD": "mypassword",
            "POSTGRES_DB": self.name,
        }

    @property
    def url(self) -> str:
        """A SQLAlchemy URL on psycopg2."""
        return f"postgresql+psycopg2://myuser:mypassword@127.0.0.1:{self.server.port}/{self.name}"


@dataclass(frozen=True)
class Mlflow:
    """The shared MLflow server."""

    uri: str
    s3_port: int

    @property
    def environ(self) -> dict[str, str]:
        """What a script needs in its environment to find this server."""
        return {"MLFLOW_TRACKING_URI": self.uri}


@pytest.fixture(scope="session")
def postgres() -> Server:
    """The real PostgreSQL 18 of the embedded stack."""
    return Server(_supervisor(os.environ[SHARED_HOME]).up([Postgres.name])[Postgres.name])


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """A fresh, empty database."""
    yield from _fresh_database(postgres)


@pytest.fixture(scope="module")
def module_database(postgres: Server) -> Iterator[Database]:
    """A database that the tests of one module share."""
    yield from _fresh_database(postgres)


def _fresh_database(postgres: Server) -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield Database(postgres, name)
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mlflow_server() -> Mlflow:
    """The real MLflow on the real PostgreSQL and S3 of the embedded stack."""
    names = [Postgres.name, ObjectStore.name, MlflowServer.name]
    ports = _supervisor(os.environ[SHARED_HOME]).up(names)
    return Mlflow(f"http://127.0.0.1:{ports[MlflowServer.name]}", ports[ObjectStore.name])


def clean_environment() -> dict[str, str]:
    """This process's environment without what would point a script at other servers."""
    return {k: v for k, v in os.environ.items() if not k.startswith(OURS)} | {
        "PYTHONWARNINGS": "default",
        "COLUMNS": "120",
    }


def run_as_module(
    module: str, args: tuple[str, ...], env: dict[str, str], *, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGS` from the repository root; see RunModule."""
    environ = clean_environment() | env
    # What Python itself reads, it reads at its start.
    fresh = fresh or any(name.startswith("PYTHON") for name in env)
    if forked.POSSIBLE and not fresh:
        return forked.run(_forking(), module, args, environ, PATIENCE)
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="session")
def run_module() -> RunModule:
    """A function that runs a module from the repository root, as a learner does."""

    def run(
        module: str,
        *args: str,
        env: dict[str, str] | None = None,
        check: bool = False,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        done = run_as_module(module, args, env or {}, fresh=fresh)
        if check and done.returncode != 0:
            pytest.fail(f"{done.args} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture
def compose() -> Iterator[Callable[..., Compose]]:
    """A function that makes a compose project of a part's folder; it is taken down afterwards."""
    projects: list[Compose] = []

    def make(folder: str, *files: str) -> Compose:
        projects.append(Compose(ROOT / folder, files or ("compose.yaml",)))
        return projects[-1]

    yield make
    for project in projects:
        project.down()


StartProxy = Callable[..., Proxy]


@pytest.fixture
def proxy() -> Iterator[StartProxy]:
    """A function that starts a proxy to a port; it is stopped afterwards."""
    proxies: list[Proxy] = []

    def start(target: int, cut_at: bytes | None = None) -> Proxy:
        proxies.append(Proxy(target, cut_at))
        proxies[-1].start()
        return proxies[-1]

    yield start
    for each in proxies:
        each.hangs = False
        each.cut()
