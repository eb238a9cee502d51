"""Schemathesis reads the OpenAPI document and tries what it allows and what it forbids."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment
from tests.part5.conftest import StartApi


@pytest.mark.parametrize("app", ["crud_pydantic", "crud_sql"])
def test_schemathesis_finds_nothing_with_all_checks_on(
    start_api: StartApi, app: str, tmp_path: Path
) -> None:
    """The command of the lesson, with fewer examples and always the same ones."""
    api = start_api(app)
    config = ROOT / "part5" / "schemathesis.toml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run"),
            f"http://127.0.0.1:{api.port}/openapi.json",
            *("--max-examples=5", "--generation-deterministic", "--no-color"),
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
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    assert " 500 " not in api.log.read_text()


def test_no_check_is_off() -> None:
    assert "enabled" not in (ROOT / "part5" / "schemathesis.toml").read_text(encoding="utf-8")
