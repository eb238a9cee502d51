"""`mlflow-artifact-store`: rclone's S3 server, the embedded stand-in for MinIO."""

import shutil
import sysconfig

from course.errors import CourseError, CourseUsageError
from course.services.base import NotReadyError, Ports, Service

_BAD_NAME = "InvalidBucketName"


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
            _rclone(),
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
        """List the buckets with the access key."""
        self._ask(ports, "list_buckets")

    def provision(self, ports: Ports) -> None:
        """Make the bucket if it is not there."""
        self._ask(ports, "create_bucket", Bucket=self.config.s3_bucket)

    def _ask(self, ports: Ports, operation: str, **arguments: str) -> None:
        import boto3  # half a second that `course --help` need not wait
        import botocore.session
        from botocore.config import Config as BotoConfig
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        # Not the learner's own profile, which may not even be there any more.
        plain = botocore.session.Session({"profile": (None, None, None, None)})
        client = boto3.Session(botocore_session=plain).client(
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
            getattr(client, operation)(**arguments)
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            pass
        except ParamValidationError as exc:
            raise self._bad_bucket() from exc
        except (BotoCoreError, ClientError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] == _BAD_NAME:
                raise self._bad_bucket() from exc
            raise NotReadyError(str(exc)) from exc

    def _bad_bucket(self) -> CourseUsageError:
        return CourseUsageError(
            f"S3_BUCKET is {self.config.s3_bucket!r}: set it to a bucket name of 3 to 63 "
            "lower-case letters, digits, dots and hyphens"
        )

    def address(self, port: int) -> str:
        """The S3 endpoint."""
        return f"http://localhost:{port}"

    def settings(self, port: int) -> dict[str, str]:
        """S3_ENDPOINT_URL, and S3_PORT for compose files."""
        return {"S3_PORT": str(port), "S3_ENDPOINT_URL": self.address(port)}


def _rclone() -> str:
    """The program that the wheel puts beside Python's own."""
    program = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if program is None:
        raise CourseError("rclone, the S3 server, is not installed; run `uv sync --reinstall`")
    return program
