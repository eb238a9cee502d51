"""The page's program: its settings, and what it says when it cannot start."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from demo.settings import BadSettingError, Settings, load_settings

from tests.imports import imports_of, python_files
from tests.part7.demo.conftest import demo_environment
from tests.part7.servers import PART
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")


def test_settings_have_the_defaults_of_the_course() -> None:
    settings = load_settings()

    assert settings.chat_api_url == "http://localhost:8080"
    assert settings.chat_api_key.get_secret_value() == "mykey"
    assert (settings.demo_host, settings.demo_port) == ("127.0.0.1", 7860)


def test_an_env_file_may_be_here_or_in_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("DEMO_PORT=7001\nCHAT_API_URL=http://above:1\nOTHER=1\n")
    Path(".env").write_text("DEMO_PORT=7002\n")
    monkeypatch.setenv("DEMO_HOST", "127.0.0.2")

    settings = load_settings()

    assert (settings.demo_port, settings.chat_api_url) == (7002, "http://above:1")
    assert settings.demo_host == "127.0.0.2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAT_API_URL", "localhost:8080"),
        ("CHAT_API_URL", "http://user:secret@chat"),
        ("CHAT_API_KEY", "secret 열쇠"),
        ("DEMO_PORT", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_the_remedy(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSettingError, match=rf"^{name} is .*: set it to ") as refused:
        load_settings()
    assert "secret" not in str(refused.value)


def run_demo(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m demo`, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "demo", *args],
        cwd=PART,
        env=demo_environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_bad_setting_and_a_port_that_is_taken_are_one_line() -> None:
    bad = run_demo(DEMO_PORT="many")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = run_demo(DEMO_PORT=str(port))

    assert bad.returncode == 2
    assert bad.stderr == "error: DEMO_PORT is 'many': set it to a number from 1 to 65535\n"
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port}: ")
    assert taken.stderr.count("\n") == 1


def test_help_names_the_settings() -> None:
    shown = run_demo("--help")

    assert shown.returncode == 0
    for name in Settings.model_fields:
        assert name.upper() in shown.stdout


def test_the_page_knows_the_server_by_http_only() -> None:
    files = python_files(PART / "demo")
    imported = {name.split(".")[0] for file in files for _, name in imports_of(file)}

    assert {"gradio", "httpx2", "demo"} <= imported
    assert imported & {"serve", "tutor", "course", "tests"} == set()
