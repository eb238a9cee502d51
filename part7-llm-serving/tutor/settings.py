"""Where the tutor listens, where the lessons are and how fast it speaks: from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]  # of the repository, which holds the lessons
REMEDIES = {
    "TUTOR_HOST": "set it to an address of this machine, for example 127.0.0.1",
    "TUTOR_PORT": "set it to a number from 1 to 65535",
    "TUTOR_LESSONS": "set it to the folder that holds README.md and part1, part2, ...",
    "TUTOR_TOKENS_PER_SECOND": "set it to a number from 0, where 0 is as fast as possible",
}


class BadSettingError(Exception):
    """A setting cannot be used; the message names it, its value and the remedy."""


class Settings(BaseSettings):
    """Each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(
        env_file=("../.env", ".env"),  # the later one wins
        extra="ignore",
        env_ignore_empty=True,  # compose passes on what nobody has set as an empty string
    )

    tutor_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    tutor_port: Annotated[int, Field(ge=1, le=65535)] = 8001
    tutor_lessons: Path = ROOT
    tutor_tokens_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 40.0


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        BadSettingError: a variable holds a value that cannot be used.
    """
    try:
        return Settings()
    except UnicodeDecodeError as exc:
        raise BadSettingError(
            ".env in this folder or the one above is not in UTF-8: save it as UTF-8"
        ) from exc
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = str(problem["loc"][0]).upper()
        raise refusal(name, problem["input"], problem["msg"].lower()) from exc


def refusal(name: str, value: object, wrong: str) -> BadSettingError:
    """The error of a setting with this value."""
    return BadSettingError(f"{name} is {str(value)!r}: {wrong}; {REMEDIES[name]}")
