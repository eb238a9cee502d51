"""Names, ports and passwords of the embedded stack: the environment, then `.env`, then defaults.

The defaults are those of every part's compose file, so that a script finds either stack.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from course.env_file import own_lines
from course.errors import CourseUsageError
from course.home import Home


@dataclass(frozen=True)
class Config:
    """Settings of the embedded servers; each field is the variable of the same name."""

    postgres_port: int = 5432
    postgres_user: str = "myuser"
    postgres_password: str = "mypassword"  # noqa: S105
    postgres_db: str = "mydatabase"
    mlflow_db_user: str = "mlflowuser"
    mlflow_db_password: str = "mlflowpassword"  # noqa: S105
    mlflow_db_name: str = "mlflowdatabase"
    s3_port: int = 9000
    minio_root_user: str = "minio"
    minio_root_password: str = "miniostorage"  # noqa: S105
    s3_bucket: str = "mlflow"
    mlflow_port: int = 5001
    mlflow_tracking_uri: str = "http://localhost:5001"
    tutor_port: int = 8001
    llm_base_url: str = "http://localhost:8001/v1"
    chat_port: int = 8080
    chat_api_keys: str = "mykey"

    @property
    def has_own_model(self) -> bool:
        """Whether part 7 is pointed to another model server than the tutor."""
        return self.llm_base_url != Config.llm_base_url

    @property
    def has_own_mlflow(self) -> bool:
        """Whether traces go to another MLflow than the embedded one, or nowhere."""
        return self.mlflow_tracking_uri != Config.mlflow_tracking_uri


def load_config(home: Home, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the settings.

    Raises:
        CourseUsageError: a port is not a number from 1 to 65535.
    """
    values = own_lines(home.env_file) | dict(environ)
    found: dict[str, str | int] = {}
    for field in fields(Config):
        name = field.name.upper()
        if name not in values:
            continue
        value = values[name]
        found[field.name] = _port(name, value) if name.endswith("_PORT") else value
    return Config(**found)  # type: ignore[arg-type]


def _port(name: str, value: str) -> int:
    if value.isdecimal() and 1 <= int(value) <= 65535:
        return int(value)
    raise CourseUsageError(f"{name} is {value!r}: set it to a port number from 1 to 65535")
