"""Settings that cannot be used: one line that names the variable, and no secret."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from serve.core.config import BadSettingError, Settings, load_settings

from tests.conftest import clean_environment
from tests.part7.servers import PART

SECRET = "hunter2"
STARTUP_FAILURE = 3  # uvicorn's own status

BAD = [
    ("CHAT_PORT", "0", "'0': input should be greater than or equal to 1"),
    ("CHAT_PORT", "65536", "'65536'"),
    ("CHAT_PORT", "http", "'http'"),
    ("CHAT_API_KEYS", "", "holds no key"),
    ("CHAT_API_KEYS", " , ", "holds no key"),
    ("CHAT_API_KEYS", f"{SECRET},sha256:abc", "without 64 hexadecimal digits"),
    ("CHAT_API_KEYS", f"sha256:{SECRET}{'0' * 57}", "without 64 hexadecimal digits"),
    ("CHAT_API_KEYS", f"plain,{SECRET}é", "make one with `uv run python -m serve.core.api_keys`"),
    ("CHAT_API_KEYS", f"열쇠{SECRET}", "not printable ASCII"),
    ("CHAT_API_KEYS", f"{SECRET}\tx", "not printable ASCII"),
    ("DATABASE_URL", "", "is no address of a database"),
    ("DATABASE_URL", SECRET, "is no address of a database"),
    ("DATABASE_URL", "mysql://me:hunter2@host/db", "begins with 'mysql'"),
    ("DATABASE_URL", "postgresql+asyncpg://me:hunter2@host/db", "begins with"),
    ("DATABASE_URL", "postgresql://me:hunter2@host:99999/db", "has the port 99999"),
    ("DATABASE_URL", "postgresql://me:hunter2@host:port/db", "is no address of a database"),
    ("DATABASE_URL", "sqlite://", "names no file"),
    ("DATABASE_URL", "sqlite:///:memory:", "names no file"),
    ("DB_WAIT_SECONDS", "0", "greater than 0"),
    ("DB_WAIT_SECONDS", "nan", "'nan'"),
    ("LLM_BASE_URL", "localhost:8001", "begins with http:// or https://"),
    ("LLM_BASE_URL", "", "begins with http:// or https://"),
    ("LLM_BASE_URL", f"http://me:{SECRET}@host/v1", "(hidden)"),
    ("LLM_FALLBACK_URLS", "http://one/v1, http://two/v1", "begins with http:// or https://"),
    ("LLM_FALLBACK_URLS", f"http://one/v1,http://me:{SECRET}@two/v1", "(hidden)"),
    ("LLM_CONTEXT_TOKENS", "127", "greater than or equal to 128"),
    ("LLM_CONNECT_SECONDS", "0", "greater than 0"),
    ("LLM_FIRST_TOKEN_SECONDS", "-1", "greater than 0"),
    ("LLM_IDLE_SECONDS", "soon", "'soon'"),
    ("LLM_RETRIES", "-1", "greater than or equal to 0"),
    ("LLM_RETRIES", "1.5", "'1.5'"),
    ("LLM_MAX_RUNNING", "0", "greater than or equal to 1"),
    ("LLM_MAX_QUEUED", "-1", "greater than or equal to 0"),
    ("LLM_BREAKER_FAILURES", "0", "greater than or equal to 1"),
    ("LLM_BREAKER_SECONDS", "0", "greater than 0"),
    ("MLFLOW_TRACKING_URI", "localhost:5001", "begins with http:// or https://"),
    ("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@host", "(hidden)"),
    ("MLFLOW_TRACKING_USERNAME", "me:you", "holds a colon"),
    ("TRACE_CONTENT", "perhaps", "'perhaps'"),
    ("ON_DISCONNECT", "stop", "'continue' or 'cancel'"),
    ("DRAIN_SECONDS", "-1", "greater than or equal to 0"),
    ("MAX_BODY_BYTES", "0", "greater than or equal to 1"),
]


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor a file .env."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_a_bad_value_is_named_in_one_line_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSettingError) as raised:
        load_settings()

    line = str(raised.value)
    assert line.startswith(f"{name} ")
    assert says in line
    assert "\n" not in line
    assert SECRET not in line


def test_every_setting_has_a_bad_value_here() -> None:
    anything_goes = {
        "chat_host",
        "llm_api_key",
        "llm_model",
        "mlflow_tracking_password",
    }

    assert {name.lower() for name, _, __ in BAD} == Settings.model_fields.keys() - anything_goes


@pytest.mark.usefixtures("no_settings")
class TestFile:
    def test_it_lies_here_or_one_folder_above(self) -> None:
        Path("../.env").write_text("CHAT_PORT=1111\nLLM_RETRIES=7\n")
        Path(".env").write_text("CHAT_PORT=2222\n")

        made = load_settings()

        assert (made.chat_port, made.llm_retries) == (2222, 7)

    def test_variables_come_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(".env").write_text("CHAT_PORT=2222\nPOSTGRES_USER=of_another_part\n")
        monkeypatch.setenv("CHAT_PORT", "3333")

        assert load_settings().chat_port == 3333

    def test_one_that_is_not_in_utf_8_is_named(self) -> None:
        Path(".env").write_bytes("CHAT_HOST=höst".encode("latin-1"))

        with pytest.raises(BadSettingError, match=r"\.env is not in UTF-8"):
            load_settings()


@pytest.mark.usefixtures("no_settings")
def test_defaults_are_those_of_the_lesson() -> None:
    made = load_settings()

    assert (made.chat_host, made.chat_port) == ("127.0.0.1", 8080)
    assert made.api_keys.admit("mykey")
    assert made.llm_urls == ["http://localhost:8001/v1"]
    assert "mykey" not in repr(made)


@pytest.mark.usefixtures("no_settings")
def test_model_servers_are_in_the_order_in_which_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLM_BASE_URL", "http://one/v1/")
    monkeypatch.setenv("LLM_FALLBACK_URLS", "https://two/v1,http://three:8001")

    assert load_settings().llm_urls == ["http://one/v1", "https://two/v1", "http://three:8001"]


class TestServer:
    """As the lesson starts it."""

    @pytest.fixture
    def serve(self, sqlite_url: str) -> Callable[..., "subprocess.CompletedProcess[str]"]:
        def run(**variables: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [sys.executable, "-m", "serve.main"],
                cwd=PART,
                env=clean_environment() | {"DATABASE_URL": sqlite_url} | variables,
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    @pytest.mark.parametrize(
        ("name", "value"),
        [("CHAT_PORT", "http"), ("DATABASE_URL", f"mysql://me:{SECRET}@host/db")],
    )
    def test_a_bad_setting_ends_it_with_status_2(
        self,
        serve: Callable[..., "subprocess.CompletedProcess[str]"],
        name: str,
        value: str,
    ) -> None:
        ended = serve(**{name: value})

        assert ended.returncode == 2
        assert ended.stdout == ""
        [line] = ended.stderr.splitlines()
        assert line.startswith(f"error: {name} ")
        assert SECRET not in line

    def test_a_port_that_is_taken_ends_it_with_one_error(
        self, serve: Callable[..., "subprocess.CompletedProcess[str]"]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            ended = serve(CHAT_PORT=str(port))

        assert ended.returncode == STARTUP_FAILURE
        assert "Traceback" not in ended.stderr
        errors = [line for line in ended.stderr.splitlines() if "address already in use" in line]
        assert len(errors) == 1
        assert str(port) in errors[0]

    def test_a_host_that_is_none_ends_it_with_one_error(
        self, serve: Callable[..., "subprocess.CompletedProcess[str]"]
    ) -> None:
        ended = serve(CHAT_HOST="no such host")

        assert ended.returncode == STARTUP_FAILURE
        assert "Traceback" not in ended.stderr
        assert [line for line in ended.stderr.splitlines() if '"level": "error"' in line]

    def test_a_database_that_is_away_ends_it_with_one_line(
        self, serve: Callable[..., "subprocess.CompletedProcess[str]"]
    ) -> None:
        url = f"postgresql://me:{SECRET}@127.0.0.1:1/db"

        ended = serve(DATABASE_URL=url, DB_WAIT_SECONDS="0.1")

        assert ended.returncode == 1
        assert SECRET not in ended.stderr
        assert "Traceback" not in ended.stderr
        errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "PostgreSQL at 127.0.0.1:1" in errors[0]


def test_a_key_and_its_hash_are_made_by_the_part_itself() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "serve.core.api_keys"],
        cwd=PART,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    key, hashed = (line.split()[1] for line in made.stdout.splitlines())
    made_of_both = Settings(_env_file=None, chat_api_keys=hashed)
    assert made_of_both.api_keys.admit(key)
    assert not made_of_both.api_keys.admit(hashed)
