"""Where the chat server is and where the page is served: from the environment."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

REMEDIES = {
    "CHAT_API_URL": "set it to the chat server's address, for example http://localhost:8080",
    "CHAT_API_KEY": "set it to one of the keys in the chat server's CHAT_API_KEYS",
    "DEMO_HOST": "set it to an address of this machine, for example 127.0.0.1",
    "DEMO_PORT": "set it to a number from 1 to 65535",
}


class BadSettingError(Exception):
    """A setting cannot be used; the message names it and the remedy."""


def _fits_a_header(key: SecretStr) -> SecretStr:
    value = key.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("not a key that fits into a header")
    return key


class Settings(BaseSettings):
    """Each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(
        env_file=("../.env", ".env"),  # the later one wins
        extra="ignore",
        env_ignore_empty=True,  # compose passes on what nobody has set as an empty string
    )

    chat_api_url: Annotated[str, Field(pattern=r"^https?://[^/\s@]+(/\S*)?$")] = (
        "http://localhost:8080"
    )
    chat_api_key: Annotated[SecretStr, AfterValidator(_fits_a_header)] = SecretStr("mykey")
    demo_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    demo_port: Annotated[int, Field(ge=1, le=65535)] = 7860


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
        name = str(exc.errors()[0]["loc"][0]).upper()
        # Neither a key nor an address, in which a password may be, is repeated.
        value = str(exc.errors()[0]["input"])
        shown = repr(value) if name.startswith("DEMO_") else "unusable"
        raise BadSettingError(f"{name} is {shown}: {REMEDIES[name]}") from exc
