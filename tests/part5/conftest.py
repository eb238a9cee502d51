"""A server of one test's own, started as the lesson starts it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from course import ports
from tests.conftest import ROOT, Database, clean_environment


@dataclass
class Api:
    """A running API and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def stop(self) -> int:
        """End it as `docker stop` does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


StartApi = Callable[..., Api]


@pytest.fixture
def start_api(tmp_path: Path) -> Iterator[StartApi]:
    """A function that runs `uvicorn part5.NAME:app` and waits until it answers."""
    started: list[Api] = []

    def start(name: str, **variables: str) -> Api:
        port = ports.choose(
            28_000 + len(started), not_these={a.client.base_url.port for a in started}
        )
        log = tmp_path / f"{name}-{port}.log"
        command = [sys.executable, "-m", "uvicorn", f"part5.{name}:app", f"--port={port}"]
        database = {"USERS_DATABASE_URL": f"sqlite:///{tmp_path}/users.db"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=clean_environment() | database | variables,
                stdout=output,
                stderr=output,
            )
        api = Api(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30), log)
        started.append(api)
        deadline = time.monotonic() + 30
        while True:
            try:
                api.client.get("/openapi.json").raise_for_status()
                return api
            except httpx.TransportError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)

    yield start
    for api in started:
        api.client.close()
        if api.process.poll() is None:
            api.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def users_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/users.db"
    database: Database = request.getfixturevalue("database")
    return database.url.replace("+psycopg2", "+psycopg")
