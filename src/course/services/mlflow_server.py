"""`mlflow-server`: MLflow's tracking server and registry on the other two services."""

import json
import sys
import urllib.error
import urllib.request
from urllib.parse import quote

from course.services.base import NotReadyError, Ports, Service
from course.services.object_store import ObjectStore
from course.services.postgres import Postgres


class MlflowServer(Service):
    """MLflow in one process; its database and its artifacts live in the other services."""

    name = "mlflow-server"
    needs = (Postgres.name, ObjectStore.name)
    start_seconds = 120.0  # the first start compiles MLflow's modules and creates its tables

    @property
    def preferred_port(self) -> int:
        """MLFLOW_PORT."""
        return self.config.mlflow_port

    def prepare(self) -> None:
        """Nothing: the data are in PostgreSQL and S3."""

    def command(self, ports: Ports) -> list[str]:
        """Run MLflow's ASGI app, see course.services.mlflow_app."""
        return [sys.executable, "-m", "course.services.mlflow_app", str(ports[self.name])]

    def environment(self, ports: Ports) -> dict[str, str]:
        """Where the backend store and the artifact store are, and what MLflow need not do."""
        config = self.config
        return {
            "COURSE_MLFLOW_BACKEND": (
                f"postgresql+psycopg2://{quote(config.mlflow_db_user, safe='')}"
                f":{quote(config.mlflow_db_password, safe='')}"
                f"@127.0.0.1:{ports[Postgres.name]}/{config.mlflow_db_name}"
            ),
            "COURSE_MLFLOW_ARTIFACTS": f"s3://{config.s3_bucket}/",
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{ports[ObjectStore.name]}",
            "AWS_ACCESS_KEY_ID": config.minio_root_user,
            "AWS_SECRET_ACCESS_KEY": config.minio_root_password,
            "AWS_DEFAULT_REGION": "us-east-1",
            # Not every S3 server knows the checksums that boto3 sends since 1.36.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # over a gigabyte for what is not used
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONWARNINGS": "ignore",  # MLflow's own deprecations would fill the log
        }

    def probe(self, ports: Ports) -> None:
        """Search for experiments: the first time, this makes MLflow's tables."""
        base = f"http://127.0.0.1:{ports[self.name]}"
        try:
            _get(f"{base}/health", timeout=2)
            answer = _get(f"{base}/api/2.0/mlflow/experiments/search?max_results=1", timeout=60)
            json.loads(answer)["experiments"]
        except (OSError, ValueError, KeyError) as exc:  # URLError is an OSError
            raise NotReadyError(str(exc)) from exc

    def address(self, port: int) -> str:
        """The web page, which is the tracking URI too."""
        return f"http://localhost:{port}"

    def settings(self, port: int) -> dict[str, str]:
        """MLFLOW_TRACKING_URI, and MLFLOW_PORT for compose files."""
        return {"MLFLOW_PORT": str(port), "MLFLOW_TRACKING_URI": self.address(port)}


def _get(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 - our own address
        return bytes(response.read())
