"""Settings: from the environment, with this part's compose defaults."""

import sys
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from serve.core.api_keys import ApiKeys, parse_keys

FORMS = "set it to sqlite:///FILE or to postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME"


class BadSettingError(Exception):
    """A variable holds a value that cannot be used; the message names it and the remedy."""


def _known_database(address: SecretStr) -> SecretStr:
    """Refuse what would otherwise fail later and in many lines. No message repeats the address."""
    try:
        place = make_url(address.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError(f"is no address of a database: {FORMS}") from None
    if place.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise ValueError(f"begins with {place.drivername!r}: {FORMS}")
    if place.drivername == "sqlite" and place.database in {None, "", ":memory:"}:
        raise ValueError(f"names no file, and memory forgets at every restart: {FORMS}")
    if place.port is not None and not 1 <= place.port <= 65535:
        raise ValueError(f"has the port {place.port}: {FORMS}")
    return address


def _usable_keys(keys: SecretStr) -> SecretStr:
    parse_keys(keys.get_secret_value())
    return keys


def _without_colon(name: str) -> str:
    if ":" in name:
        raise ValueError("holds a colon, which ends the name in a login: set it to the name alone")
    return name


# Without a user and a password, because addresses are logged.
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/\s@,]+(/[^\s@,]*)?$")]
HttpAddressOrNone = Annotated[str, Field(pattern=r"^(https?://[^/\s@,]+(/[^\s@,]*)?)?$")]
Addresses = Annotated[
    str, Field(pattern=r"^(https?://[^/\s@,]+(/[^\s@,]*)?(,https?://[^/\s@,]+(/[^\s@,]*)?)*)?$")
]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Each field is the environment variable of the same name."""

    # The part is run from its own folder; `course` writes .env in the one above it.
    model_config = SettingsConfigDict(env_file=("../.env", ".env"), extra="ignore")

    chat_host: str = "127.0.0.1"
    chat_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    chat_api_keys: Annotated[SecretStr, AfterValidator(_usable_keys)] = SecretStr("mykey")

    # Secret, because a password may be in it: it is not printed with the settings.
    database_url: Annotated[SecretStr, AfterValidator(_known_database)] = SecretStr(
        "sqlite:///artifacts/chat.db"
    )
    db_wait_seconds: Seconds = 10.0

    llm_base_url: HttpAddress = "http://localhost:8001/v1"
    llm_fallback_urls: Addresses = ""
    llm_api_key: SecretStr = SecretStr("")
    llm_model: str = "course-tutor"
    llm_context_tokens: Annotated[int, Field(ge=128)] = 8192
    llm_connect_seconds: Seconds = 2.0
    llm_first_token_seconds: Seconds = 30.0
    llm_idle_seconds: Seconds = 15.0
    llm_retries: Annotated[int, Field(ge=0)] = 2
    llm_max_running: Annotated[int, Field(ge=1)] = 256
    llm_max_queued: Annotated[int, Field(ge=0)] = 256
    llm_breaker_failures: Annotated[int, Field(ge=1)] = 5
    llm_breaker_seconds: Seconds = 10.0

    # Empty: nothing is traced.
    mlflow_tracking_uri: HttpAddressOrNone = "http://localhost:5001"
    mlflow_tracking_username: Annotated[str, AfterValidator(_without_colon)] = ""
    mlflow_tracking_password: SecretStr = SecretStr("")
    trace_content: bool = True  # also what is said, and not only how long it took

    on_disconnect: Literal["continue", "cancel"] = "continue"
    drain_seconds: Annotated[float, Field(ge=0)] = 10.0
    max_body_bytes: Annotated[int, Field(ge=1)] = 1_000_000

    @property
    def api_keys(self) -> ApiKeys:
        """The hashes of the keys."""
        return parse_keys(self.chat_api_keys.get_secret_value())

    @property
    def llm_urls(self) -> list[str]:
        """Where models are, in the order in which they are asked."""
        fallbacks = [url for url in self.llm_fallback_urls.split(",") if url]
        return [url.rstrip("/") for url in (self.llm_base_url, *fallbacks)]


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        BadSettingError: a variable holds a value that cannot be used.
    """
    try:
        return Settings()
    except UnicodeDecodeError as exc:
        raise BadSettingError(".env is not in UTF-8: save it as UTF-8") from exc
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = str(problem["loc"][0]).upper()
        if problem["type"] == "value_error":
            raise BadSettingError(f"{name} {problem['ctx']['error']}") from exc
        secret = "KEY" in name or "@" in str(problem["input"])
        value = "(hidden)" if secret else repr(problem["input"])
        wrong = problem["msg"].lower()
        if problem["type"] == "string_pattern_mismatch":
            wrong = (
                "set it to an address that begins with http:// or https:// and holds no user and "
                "no password"
            )
        raise BadSettingError(f"{name} is {value}: {wrong}") from exc


def settings_or_exit() -> Settings:
    """Read the settings, or end with one line and status 2."""
    try:
        return load_settings()
    except BadSettingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(2) from None
