"""The routes about the model and the server: what is served, reload, health, metrics."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, SecretStr

from part6.command import WorkFailedError
from part6.draining import Drain
from part6.manifest import Manifest
from part6.messages import Reloaded
from part6.problems import ProblemError, documented
from part6.served_model import Runtime
from part6.serving import Serving

RETRY_AFTER = {"Retry-After": "5"}


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Ready(BaseModel):
    """The server can predict."""

    model_config = ConfigDict(protected_namespaces=())

    status: str = "ready"
    model_version: int
    runtime: Runtime


def model_routes(serving: Serving, drain: Drain, api_key: SecretStr) -> APIRouter:
    """GET /model, POST /model/reload, /health/live, /health/ready and /metrics."""
    router = APIRouter()
    header = APIKeyHeader(name="X-API-Key", auto_error=False)

    def known(key: Annotated[str | None, Depends(header)]) -> None:
        expected = api_key.get_secret_value().encode()
        # A header arrives as bytes, which Starlette reads as Latin-1.
        if key is None or not secrets.compare_digest(key.encode("latin-1"), expected):
            raise ProblemError(
                401,
                "the header X-API-Key does not hold the key of this server",
                {"WWW-Authenticate": "APIKey"},
            )

    @router.get("/model", tags=["model"], responses=documented(503))
    async def model() -> Manifest:
        """Which model answers, and what it was made of."""
        if serving.model is None:
            raise ProblemError(503, f"no model is served: {serving.why_none}", RETRY_AFTER)
        return serving.model.manifest

    @router.post(
        "/model/reload",
        tags=["model"],
        dependencies=[Depends(known)],
        responses=documented(401, 503),
    )
    async def reload() -> Reloaded:
        """Fetch the version that the alias names now; until it is proved the old one answers."""
        try:
            return await serving.reload()
        except WorkFailedError as exc:
            still = serving.model
            goes_on = f"; version {still.manifest.version} goes on answering" if still else ""
            raise ProblemError(503, f"{exc}{goes_on}", RETRY_AFTER) from exc

    @router.get("/health/live", tags=["health"])
    async def live() -> Alive:
        """Say that the process answers; if it does not, restart it."""
        return Alive()

    @router.get("/health/ready", tags=["health"], responses=documented(503))
    async def ready() -> Ready:
        """Say whether requests may be sent here."""
        if drain.begun:
            raise ProblemError(503, "the server is stopping")
        if serving.model is None:
            raise ProblemError(503, f"no model is served: {serving.why_none}", RETRY_AFTER)
        model = serving.model
        return Ready(model_version=model.manifest.version, runtime=model.runtime)

    @router.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Counters and gauges for Prometheus."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
