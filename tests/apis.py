"""A part's API as a process, started as the lesson starts it, and Schemathesis run against it."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from course import ports
from tests.conftest import ROOT, clean_environment
from tests.waiting import PATIENCE, wait_for


@dataclass
class Api:
    """A running API and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    port: int
    log: Path

    def terminate(self) -> None:
        """What `docker stop` sends."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """See it end in order after SIGTERM."""
        # uvicorn shuts down, and then lets the signal have the effect that it has by itself.
        assert self.process.wait(PATIENCE) == -signal.SIGTERM, self.log.read_text()
        assert "Application shutdown complete" in self.log.read_text()

    def metric(self, name: str) -> float:
        """The value of a metric, named with its labels; 0 while nobody has set it."""
        lines = self.client.get("/metrics").text.splitlines()
        assert any(line.startswith(f"# TYPE {name.partition('{')[0]} ") for line in lines), name
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0)


@contextmanager
def running_api(app: str, folder: Path, *options: str, **variables: str) -> Iterator[Api]:
    """Run `uvicorn APP`, with its log in `folder`, until the block ends."""
    # Below the ephemeral range, and apart from what other workers choose.
    port = ports.choose(random.randint(20_000, 32_000))
    log = folder / f"api-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", app, f"--port={port}", *options],
            cwd=ROOT,
            env=clean_environment() | variables,
            stdout=output,
            stderr=output,
        )
    address = f"http://127.0.0.1:{port}"
    with httpx2.Client(base_url=address, timeout=PATIENCE) as client:
        api = Api(process, client, port, log)
        try:
            wait_for(lambda: f"running on {address}" in log.read_text() or has_ended(process))
            assert not has_ended(process), log.read_text()
            yield api
            client.close()
            if not has_ended(process):
                api.terminate()
                api.wait()
        finally:
            process.kill()
            process.wait()


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process of ours is gone."""
    return process.poll() is not None


def try_every_request(api: Api, part: str, folder: Path, *options: str) -> str:
    """The lesson's command, with fewer examples and always the same ones; return what it printed.

    `folder` is where Schemathesis leaves its database of examples.
    """
    config = ROOT / part / "schemathesis.toml"
    assert "enabled" not in config.read_text(encoding="utf-8")  # no check is off
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run"),
            f"http://127.0.0.1:{api.port}/openapi.json",
            *("--generation-deterministic", "--no-color", *options),
        ],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "generated," in done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    return done.stdout
