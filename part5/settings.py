"""Where the users are kept, and how much a request may be: from the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings; each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    users_database_url: str = "sqlite:///artifacts/part5/users.db"
    max_body_bytes: Annotated[int, Field(ge=1)] = 10_000
