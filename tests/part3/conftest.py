"""Fixtures of part 3: seeded rows, one saved model per module, and a connection that can break."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import Database

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.conftest import Mlflow, RunModule, Server

SAVE = "part3.save_model_to_registry"
PROMOTE = "part3.promote_model"
LOAD = "part3.load_model_from_registry"


def new_name() -> str:
    """A model name that no other test has."""
    return f"model_{uuid4().hex[:8]}"


@dataclass(frozen=True)
class Saved:
    """A model that save_model_to_registry has registered as version 1."""

    name: str
    run_id: str
    printed: str
    stderr: str
    environ: dict[str, str]


@pytest.fixture(scope="session")
def registry_environ(
    run_module: "RunModule", postgres: "Server", mlflow_server: "Mlflow"
) -> Iterator[dict[str, str]]:
    """The environment of a script: MLflow, and a database with 600 rows."""
    name = f"test_{uuid4().hex[:12]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    environ = mlflow_server.environ | Database(postgres, name).environ
    run_module("part3.seed_database", "--rows", "600", env=environ, check=True)
    yield environ
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def client(mlflow_server: "Mlflow") -> "MlflowClient":
    """A client of the shared MLflow server."""
    from mlflow import MlflowClient

    return MlflowClient(mlflow_server.uri)


@pytest.fixture(scope="session")
def saved(run_module: "RunModule", registry_environ: dict[str, str]) -> Saved:
    """One saved model for all tests; none of them gives it a version or a champion."""
    return save(run_module, registry_environ)


def save(
    run_module: "RunModule", registry_environ: dict[str, str], *, fresh: bool = False
) -> Saved:
    """Save a model under a new name."""
    name = new_name()
    done = run_module(SAVE, "--model-name", name, env=registry_environ, check=True, fresh=fresh)
    found = re.search(r"^run +(\w{32})$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return Saved(name, found.group(1), done.stdout, done.stderr, registry_environ)


def only_line(stderr: str) -> str:
    """The one line that reports a failure; the lines of the log, which carry a time, do not count.

    Fails where there is a traceback or a second line.
    """
    assert "Traceback" not in stderr, stderr
    lines = [line for line in stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: "), stderr
    return lines[0]
