"""Create the bucket that MLflow keeps its artifacts in. Safe to run twice.

uv run python -m part6.create_bucket
"""

import logging
from typing import Annotated

import stamina
import typer

from part6.command import DebugOption, WorkFailedError, run
from part6.settings import load_settings

log = logging.getLogger(__name__)


def create_bucket(
    bucket: Annotated[str, typer.Option(help="Name of the bucket.")] = "mlflow",
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Wait for the S3 server and make sure that it has the bucket."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    settings = load_settings()
    endpoint = settings.s3_endpoint_url
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.minio_root_user,
        aws_secret_access_key=settings.minio_root_password.get_secret_value(),
        region_name="us-east-1",
        config=Config(
            connect_timeout=3,
            read_timeout=5,
            retries={"total_max_attempts": 1},  # the loop below waits, and says so
            s3={"addressing_style": "path"},  # bucket.localhost is nobody's name
            # Since boto3 1.36 every upload carries a checksum that not every S3 server knows.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

    def not_ready(exc: Exception) -> bool:
        if isinstance(exc, ClientError):
            return int(exc.response["ResponseMetadata"]["HTTPStatusCode"]) >= 500
        return isinstance(exc, BotoCoreError) and not isinstance(exc, ParamValidationError)

    attempts = stamina.retry_context(
        on=not_ready, attempts=None, timeout=settings.s3_wait_seconds, wait_initial=0.2, wait_max=2
    )
    try:
        for attempt in attempts:
            with attempt:
                if attempt.num == 2:
                    log.info("waiting for S3 at %s ...", endpoint)
                if bucket in {there["Name"] for there in s3.list_buckets()["Buckets"]}:
                    log.info("bucket %s is there already", bucket)
                else:
                    s3.create_bucket(Bucket=bucket)
                    log.info("bucket %s created", bucket)
    except ClientError as exc:
        raise WorkFailedError(_explain(exc, endpoint, bucket)) from exc
    except ParamValidationError as exc:
        raise WorkFailedError(f"S3 has no bucket names like {bucket!r}; use mlflow") from exc
    except BotoCoreError as exc:
        raise WorkFailedError(
            f"no S3 at {endpoint} after {settings.s3_wait_seconds:g} s; start it with "
            "`docker compose up -d --wait mlflow-artifact-store` in part6/"
        ) from exc


def _explain(exc: Exception, endpoint: str, bucket: str) -> str:
    reason = str(exc)
    if any(code in reason for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "(403)")):
        return (
            f"S3 at {endpoint} refused the key; set MINIO_ROOT_USER and MINIO_ROOT_PASSWORD to "
            "what the server was started with"
        )
    return f"bucket {bucket!r} was not created at {endpoint}: {reason}"


if __name__ == "__main__":
    run(create_bucket)
