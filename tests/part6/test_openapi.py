"""The OpenAPI document says what the server does: schemathesis tries what it allows and forbids."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment
from tests.part6.conftest import KEY, StartApi

CONFIG = ROOT / "part6" / "schemathesis.toml"


@pytest.mark.slow
def test_schemathesis_finds_nothing_with_all_checks_on(
    start_api: StartApi, made: dict[str, Path], tmp_path: Path
) -> None:
    """The command of the lesson, with fewer examples and always the same ones."""
    api = start_api(made["onnxruntime"])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run"),
            f"http://127.0.0.1:{api.port}/openapi.json",
            *("--max-examples=10", "--generation-deterministic", "--no-color"),
            *("-H", f"X-API-Key: {KEY}"),
        ],
        cwd=tmp_path,  # where it leaves its database of examples
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "generated," in done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    assert 'status="500"' not in api.client.get("/metrics").text
    assert "Traceback" not in api.log.read_text()


def test_no_check_is_off() -> None:
    assert "enabled" not in CONFIG.read_text(encoding="utf-8")
