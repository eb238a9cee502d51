"""Where database, MLflow and S3 are: from the environment, with this part's compose defaults."""

from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from part3.command import BadUsageError

# Without a user and a password, because addresses are logged.
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/\s@]+(/[^\s@]*)?$")]


class Settings(BaseSettings):
    """Connection settings; each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    postgres_host: str = "localhost"
    postgres_port: Annotated[int, Field(ge=1, le=65535)] = 5432
    postgres_user: str = "myuser"
    postgres_password: SecretStr = SecretStr("mypassword")
    postgres_db: str = "mydatabase"
    db_wait_seconds: Annotated[float, Field(gt=0)] = 10.0

    mlflow_tracking_uri: HttpAddress = "http://localhost:5001"
    mlflow_tracking_username: str = ""
    mlflow_tracking_password: SecretStr = SecretStr("")
    mlflow_wait_seconds: Annotated[float, Field(gt=0)] = 10.0

    # Only create_bucket speaks to S3 itself; everybody else goes through the MLflow server.
    s3_endpoint_url: HttpAddress = "http://localhost:9000"
    minio_root_user: str = "minio"
    minio_root_password: SecretStr = SecretStr("miniostorage")
    s3_wait_seconds: Annotated[float, Field(gt=0)] = 30.0


def load_settings(**overrides: object) -> Settings:
    """Read the settings; an override that is not None wins over the environment.

    Raises:
        BadUsageError: a variable holds a value that cannot be used.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except UnicodeDecodeError as exc:
        raise BadUsageError(".env in this folder is not in UTF-8: save it as UTF-8") from exc
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = str(problem["loc"][0]).upper()
        secret = "PASSWORD" in name or "@" in str(problem["input"])
        value = "(hidden)" if secret else repr(problem["input"])
        wrong = problem["msg"].lower()
        if problem["type"] == "string_pattern_mismatch":
            wrong = (
                "set it to an address that begins with http:// or https:// and holds no user and "
                "no password"
            )
        raise BadUsageError(f"{name} is {value}: {wrong}") from exc
