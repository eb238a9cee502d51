"""Run archived scripts without editing them: a copy whose hard-coded addresses are replaced."""

import importlib.util
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import psycopg2
import pytest

from tests.conftest import ROOT, Database, Mlflow, Server, clean_environment
from tests.waiting import PATIENCE

RUN_ID = re.compile(r"^Run ID : ([0-9a-f]{32})$", re.MULTILINE)
ACCURACY = re.compile(r"^(?:Load Model )?(Train|Valid) Accuracy : (\S+)$", re.MULTILINE)

type Accuracies = dict[str, float]


def accuracies(printed: str) -> Accuracies:
    """What a training script says, by side of the split."""
    return {side: float(value) for side, value in ACCURACY.findall(printed)}


@dataclass(frozen=True)
class Archived:
    """One archived part, copied to where it may leave its files."""

    folder: Path

    def environ(self) -> dict[str, str]:
        return clean_environment() | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",  # MLflow 3 prints a runner before the address of a run
        }

    def run(self, script: str, *args: str) -> str:
        """Run a script in its folder as the course did; return what it printed."""
        done = subprocess.run(
            [sys.executable, script, *args],
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, script: str, *args: str) -> "subprocess.Popen[str]":
        """Start a script that never ends by itself."""
        return subprocess.Popen(
            [sys.executable, script, *args],
            cwd=self.folder,
            env=self.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def load(self, script: str) -> ModuleType:
        """Import a script, to call its functions."""
        path = self.folder / script
        spec = importlib.util.spec_from_file_location(f"archived_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def copy_archive(
    part: str, folder: Path, database: Database | None = None, mlflow: Mlflow | None = None
) -> Archived:
    """Copy archive/PART into `folder` and point the copy to a test's servers."""
    new_text: dict[str, str] = {}
    if database is not None:
        new_text["port=5432"] = f"port={database.server.port}"
        new_text['database="mydatabase"'] = f'database="{database.name}"'
    if mlflow is not None:
        new_text["http://localhost:5001"] = mlflow.uri
        new_text["http://localhost:9000"] = f"http://localhost:{mlflow.s3_port}"
    replaced = dict.fromkeys(new_text, 0)
    for script in (ROOT / "archive" / part).glob("*.py"):
        text = script.read_text(encoding="utf-8")
        for old, new in new_text.items():
            replaced[old] += text.count(old)
            text = text.replace(old, new)
        (folder / script.name).write_text(text, encoding="utf-8")
    assert all(replaced.values()), f"not in archive/{part}: {replaced}"
    return Archived(folder)


@pytest.fixture
def old_database(postgres: Server) -> Iterator[Database]:
    """A second empty database, for the archive, beside the `database` of the new scripts."""
    name = f"old_{uuid.uuid4().hex[:12]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield Database(postgres, name)
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def old_connection(old_database: Database) -> Iterator["psycopg2.extensions.connection"]:
    """What the archived functions expect to be handed: a psycopg2 connection."""
    connection = psycopg2.connect(
        user="myuser",
        password="mypassword",
        host="127.0.0.1",
        port=old_database.server.port,
        dbname=old_database.name,
    )
    yield connection
    connection.close()
