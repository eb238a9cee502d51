"""Services, ports, users and databases have one name in settings, compose files and `course`."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from course import services
from course.config import Config

ROOT = Path(__file__).resolve().parents[1]

# The house's table: what every variable is called, and what it is when nobody sets it.
VARIABLES = {
    "POSTGRES_HOST": "localhost",
    "POSTGRES_PORT": "5432",
    "POSTGRES_USER": "myuser",
    "POSTGRES_PASSWORD": "mypassword",
    "POSTGRES_DB": "mydatabase",
    "DB_WAIT_SECONDS": "10",
    "DATA_RATE": "1",
    "DATA_MAX_AGE": "60",
    "TRAIN_INTERVAL": "60",
    "MLFLOW_TRACKING_URI": "http://localhost:5001",
    "MLFLOW_TRACKING_USERNAME": "",
    "MLFLOW_TRACKING_PASSWORD": "",
    "MLFLOW_PORT": "5001",
    "MLFLOW_WAIT_SECONDS": "10",
    "MLFLOW_DB_USER": "mlflowuser",
    "MLFLOW_DB_PASSWORD": "mlflowpassword",
    "MLFLOW_DB_NAME": "mlflowdatabase",
    "MINIO_ROOT_USER": "minio",
    "MINIO_ROOT_PASSWORD": "miniostorage",
    "S3_PORT": "9000",
    "S3_CONSOLE_PORT": "9001",
    "S3_ENDPOINT_URL": "http://localhost:9000",
    "S3_WAIT_SECONDS": "30",
    "S3_BUCKET": "mlflow",
    "USERS_DATABASE_URL": "sqlite:///artifacts/part5/users.db",
    "CRUD_API_PORT": "8000",
    "MAX_BODY_BYTES": "1000000",
    "MODEL_NAME": "sk_model",
    "MODEL_ALIAS": "champion",
    "MODEL_DIR": "artifacts/part6/model",
    "MODEL_API_KEY": "mykey",
    "MODEL_API_PORT": "8000",
    "MODEL_API_URL": "http://localhost:8000",
    "MODEL_WATCH_SECONDS": "0",
    "MODEL_DOWNLOAD_SECONDS": "300",
    "RECORD_PREDICTIONS": "true",
    "RECORD_QUEUE_ROWS": "100000",
    "TUTOR_HOST": "127.0.0.1",
    "TUTOR_PORT": "8001",
    "TUTOR_TOKENS_PER_SECOND": "40",
    "CHAT_HOST": "127.0.0.1",
    "CHAT_PORT": "8080",
    "CHAT_API_KEYS": "mykey",
    "DATABASE_URL": "sqlite:///artifacts/chat.db",
    "LLM_BASE_URL": "http://localhost:8001/v1",
    "LLM_FALLBACK_URLS": "",
    "LLM_API_KEY": "",
    "LLM_MODEL": "course-tutor",
    "LLM_CONTEXT_TOKENS": "8192",
    "LLM_CONNECT_SECONDS": "2",
    "LLM_FIRST_TOKEN_SECONDS": "30",
    "LLM_IDLE_SECONDS": "15",
    "LLM_RETRIES": "2",
    "LLM_MAX_RUNNING": "256",
    "LLM_MAX_QUEUED": "256",
    "LLM_BREAKER_FAILURES": "5",
    "LLM_BREAKER_SECONDS": "10",
    "ON_DISCONNECT": "continue",
    "TRACE_CONTENT": "true",
    "DRAIN_SECONDS": "10",
    "CHAT_API_URL": "http://localhost:8080",
    "CHAT_API_KEY": "mykey",
    "DEMO_HOST": "127.0.0.1",
    "DEMO_PORT": "7860",
    "PROMETHEUS_PORT": "9090",
    "GRAFANA_PORT": "3000",
    "GRAFANA_PASSWORD": "mypassword",
    "LOKI_PORT": "3100",
}

# In a container `localhost` is the container, and files belong on a volume.
IN_A_CONTAINER = {
    "LLM_BASE_URL": "http://tutor:8001/v1",
    "DATABASE_URL": "sqlite:////app/data/chat.db",
}

# The servers: by which port on the host they are known, and which database they hold.
PORT_OF = {
    "postgres-server": {"POSTGRES_PORT": "5432"},
    "mlflow-server": {"MLFLOW_PORT": "5001"},
    "mlflow-artifact-store": {"S3_PORT": "9000", "S3_CONSOLE_PORT": "9001"},
    "crud-api": {"CRUD_API_PORT": "8000"},
    "model-api": {"MODEL_API_PORT": "8000"},
    "tutor": {"TUTOR_PORT": "8001"},
    "chat-server": {"CHAT_PORT": "8080"},
    "gradio-demo": {"DEMO_PORT": "7860"},
    "prometheus": {"PROMETHEUS_PORT": "9090"},
    "grafana": {"GRAFANA_PORT": "3000"},
    "loki": {"LOKI_PORT": "3100"},
}
DATABASE_OF = {
    "postgres-server": {
        "POSTGRES_USER": "${POSTGRES_USER:-myuser}",
        "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-mypassword}",
        "POSTGRES_DB": "${POSTGRES_DB:-mydatabase}",
    },
    "mlflow-backend-store": {
        "POSTGRES_USER": "${MLFLOW_DB_USER:-mlflowuser}",
        "POSTGRES_PASSWORD": "${MLFLOW_DB_PASSWORD:-mlflowpassword}",
        "POSTGRES_DB": "${MLFLOW_DB_NAME:-mlflowdatabase}",
    },
}

# A part's settings, or those of the packages in a part whose name has a hyphen.
SETTINGS = [
    *sorted(f"{file.parent.name}.settings" for file in ROOT.glob("part*/settings.py")),
    "serve.core.config",
    "tutor.settings",
    "demo.settings",
]
# They have no default for everybody: a folder of this repository.
PLACES = {"TUTOR_LESSONS"}
COMPOSE_FILES = sorted(ROOT.glob("part*/compose*.yaml"))
ADD_IT = "add it to the table in tests/test_one_name_for_one_thing.py and to .env.example"


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tags, as in `command: !reset null`."""


ComposeLoader.add_multi_constructor("!", lambda *_: None)


def compose_services(file: Path) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, dict[str, Any]]] = yaml.load(
        file.read_text(encoding="utf-8"), Loader=ComposeLoader
    )
    return loaded["services"]


def substitutions(file: Path) -> Iterator[tuple[str, str | None]]:
    """Every ${NAME} and ${NAME:-default} of a compose file; `$$` belongs to the container."""
    for name, default in re.findall(
        r"(?<!\$)\$\{(\w+)(?::?-([^}]*))?\}", file.read_text(encoding="utf-8")
    ):
        if name != "COMPOSE_PROJECT_NAME":  # which compose sets itself
            yield name, default or None


def part_settings(module: str) -> dict[str, str]:
    fields = importlib.import_module(module).Settings.model_fields
    values = {name.upper(): as_text(field.default) for name, field in fields.items()}
    return {name: value for name, value in values.items() if name not in PLACES}


def as_text(default: object) -> str:
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def agree(found: dict[str, str]) -> list[str]:
    """What is not as the table says."""
    return [
        f"{name} is {value!r}, the table says {VARIABLES[name]!r}"
        if name in VARIABLES
        else f"{name} is not in the table; {ADD_IT}"
        for name, value in found.items()
        if VARIABLES.get(name) != value
    ]


@pytest.mark.parametrize("module", SETTINGS)
def test_a_parts_settings_are_those_of_the_table(module: str) -> None:
    assert agree(part_settings(module)) == []


def test_the_embedded_stack_has_the_settings_of_the_table() -> None:
    assert agree({field.name.upper(): as_text(field.default) for field in fields(Config)}) == []


def test_the_example_names_every_variable_and_explains_it() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()

    unexplained = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if "=" in line and not line.startswith("#") and not before.startswith("# ")
    ]

    assert example() == VARIABLES
    assert unexplained == []


def test_the_table_names_nothing_that_nobody_reads() -> None:
    read = {field.name.upper() for field in fields(Config)}
    read |= {name for module in SETTINGS for name in part_settings(module)}
    read |= {name for file in COMPOSE_FILES for name, _ in substitutions(file)}

    assert sorted(set(VARIABLES) - read) == []


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
class TestComposeFile:
    def test_every_variable_has_the_default_of_the_table(self, file: Path) -> None:
        wrong = [
            f"${{{name}}} has the default {default!r}"
            for name, default in substitutions(file)
            # A container starts together with its server and may wait longer for it than a person,
            # and nobody is there to tell it that the alias has moved.
            if IN_A_CONTAINER.get(name, VARIABLES.get(name)) != (default or "")
            and not name.endswith(("_WAIT_SECONDS", "_WATCH_SECONDS"))
        ]

        assert wrong == [], f"if the variable is new, {ADD_IT}"

    def test_host_ports_are_variables_of_the_table(self, file: Path) -> None:
        for service, definition in compose_services(file).items():
            allowed = {
                f"${{{name}:-{port}}}:{port}" for name, port in PORT_OF.get(service, {}).items()
            }
            assert set(definition.get("ports", [])) <= allowed, service

    def test_databases_are_those_of_the_table(self, file: Path) -> None:
        for service, definition in compose_services(file).items():
            if definition.get("image", "").startswith("postgres:"):
                assert service in DATABASE_OF
                assert definition["environment"] == DATABASE_OF[service]

    def test_every_host_that_an_environment_names_is_a_service_of_the_file(
        self, file: Path
    ) -> None:
        there = set(compose_services(file))
        named = {
            host
            for definition in compose_services(file).values()
            for name, value in definition.get("environment", {}).items()
            for host in (
                [str(value)]
                if name.endswith("_HOST")
                else re.findall(r"\w://(?:[^@/\s]*@)?([\w.-]+)", str(value))
            )
        }

        assert named - {"0.0.0.0"} <= there  # which is where a server listens, and names nobody

    def test_an_s3_server_is_called_by_its_role(self, file: Path) -> None:
        for service, definition in compose_services(file).items():
            if "minio" in definition.get("image", "") or "rustfs" in definition.get("image", ""):
                assert service == "mlflow-artifact-store"


def test_embedded_servers_have_the_names_and_ports_of_the_table() -> None:
    config = Config()
    assert {
        "postgres-server": config.postgres_port,
        "mlflow-server": config.mlflow_port,
        "mlflow-artifact-store": config.s3_port,
        "tutor": config.tutor_port,
        "chat-server": config.chat_port,
    } == {name: int(next(iter(PORT_OF[name].values()))) for name in services.SERVICES}


def test_what_a_part_needs_embedded_is_what_its_compose_file_starts() -> None:
    for part, needs in services.PARTS.items():
        (file,) = ROOT.glob(f"{part}*/compose.yaml")
        listed = compose_services(file).items()
        started = {name for name, definition in listed if not definition.get("profiles")}
        assert set(needs) <= started, part
        assert started & set(services.SERVICES) <= set(needs), part


def test_addresses_fit_their_ports() -> None:
    assert VARIABLES["MLFLOW_TRACKING_URI"] == f"http://localhost:{VARIABLES['MLFLOW_PORT']}"
    assert VARIABLES["S3_ENDPOINT_URL"] == f"http://localhost:{VARIABLES['S3_PORT']}"


def test_a_difference_is_found() -> None:
    assert agree({"POSTGRES_PORT": "5432"}) == []
    assert agree({"POSTGRES_PORT": "5433"}) == ["POSTGRES_PORT is '5433', the table says '5432'"]
    assert len(agree({"PG_PORT": "5432"})) == 1
