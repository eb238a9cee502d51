"""Where the users are kept, and how much a request may be: from the environment."""

import sys
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

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


class Settings(BaseSettings):
    """Settings; each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    # Secret, because a password may be in it: it is not printed with the settings.
    users_database_url: Annotated[SecretStr, AfterValidator(_known_database)] = SecretStr(
        "sqlite:///artifacts/part5/users.db"
    )
    db_wait_seconds: Annotated[float, Field(gt=0)] = 10.0
    max_body_bytes: Annotated[int, Field(ge=1)] = 1_000_000


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        BadSettingError: a variable holds a value that cannot be used.
    """
    try:
        return Settings()
    except UnicodeDecodeError as exc:
        raise BadSettingError(".env in this folder is not in UTF-8: save it as UTF-8") from exc
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = str(problem["loc"][0]).upper()
        if problem["type"] == "value_error":
            raise BadSettingError(f"{name} {problem['ctx']['error']}") from exc
        raise BadSettingError(f"{name} is {problem['input']!r}: {problem['msg'].lower()}") from exc


def settings_or_exit() -> Settings:
    """Read the settings, or end with one line and status 2.

    uvicorn imports an app and calls no `main`, so that this is where an error becomes a line.
    """
    try:
        return load_settings()
    except BadSettingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(2) from None
