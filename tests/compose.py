"""A part's compose project under test: a name of its own, free ports, real containers."""

import json
import os
import random
import subprocess
import uuid
from pathlib import Path

import pytest

from course import ports

PORTS = (
    "POSTGRES_PORT",
    "MLFLOW_PORT",
    "S3_PORT",
    "S3_CONSOLE_PORT",
    "CRUD_API_PORT",
    "MODEL_API_PORT",
    "TUTOR_PORT",
    "CHAT_PORT",
    "DEMO_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
    "LOKI_PORT",
)


class Compose:
    """`docker compose` in one folder; every host port is a free one."""

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        self.folder = folder
        self.name = f"test-{folder.name}-{uuid.uuid4().hex[:6]}"
        self.files = [arg for file in files for arg in ("-f", file)]
        self.ports: dict[str, int] = {}
        for variable in PORTS:
            # Below the ephemeral range, and apart from what other workers choose.
            preferred = random.randint(20_000, 32_000)
            self.ports[variable] = ports.choose(preferred, not_these=set(self.ports.values()))

    @property
    def environ(self) -> dict[str, str]:
        """The variables that move the host ports; the same ones point scripts at the project."""
        uri = f"http://localhost:{self.ports['MLFLOW_PORT']}"
        return {k: str(v) for k, v in self.ports.items()} | {"MLFLOW_TRACKING_URI": uri}

    def run(self, *args: str, check: bool = True) -> str:
        """Run `docker compose ARGS` and return what it printed."""
        done = subprocess.run(
            ["docker", "compose", "-p", self.name, *self.files, *args],
            cwd=self.folder,
            env=os.environ | self.environ,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if check and done.returncode != 0:
            logs = "" if args[0] == "logs" else self.run("logs", "--tail=30", check=False)
            pytest.fail(f"docker compose {' '.join(args)}:\n{done.stdout}\n{done.stderr}\n{logs}")
        return done.stdout + done.stderr

    def up(self) -> None:
        """`docker compose up --build --wait`, as the lesson says."""
        self.run("up", "--build", "--wait")

    def kill(self, service: str) -> None:
        """Kill a container the hard way."""
        self.run("kill", service)

    def states(self) -> dict[str, str]:
        """State and health by service, as in "running (healthy)"."""
        listed = self.run("ps", "--all", "--format", "json").strip().splitlines()
        rows = [json.loads(line) for line in listed]
        return {row["Service"]: f"{row['State']} ({row['Health'] or 'no check'})" for row in rows}

    def down(self) -> None:
        """Remove containers, volumes and the images that were built."""
        every = ("--profile", "*")  # also of profiles that the test has left by now
        self.run(*every, "down", "--volumes", "--remove-orphans", "--rmi", "local", check=False)
