"""/health for people, /live for who restarts, /ready for who routes, /metrics for Prometheus."""

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from serve.core.errors import ChatError, ModelError, ServerStoppingError
from serve.core.problems import documented
from serve.cruds import orphans
from serve.routers.dependency import Db, Llm, Running

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the server is, and what is the matter."""

    status: Literal["ok", "degraded"]
    reasons: list[str] = []
    models: list[str] = []


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Ready(BaseModel):
    """Requests may be sent here."""

    status: str = "ready"


@router.get("/health")
async def health(db: Db, llm: Llm) -> Health:
    """`degraded` says why: the server answers without a model, but not well."""
    reasons: list[str] = []
    models: list[str] = []
    try:
        await db.read(orphans.owners_of_streaming)
    except ChatError as exc:
        reasons.append(str(exc))
    try:
        models = await llm.models()
    except ModelError as exc:
        reasons.append(f"{exc}; start the tutor with `course up part7`, or set LLM_BASE_URL")
    return Health(status="degraded" if reasons else "ok", reasons=reasons, models=models)


@router.get("/live")
async def live() -> Alive:
    """Say that the process answers; if it does not, restart it."""
    return Alive()


@router.get("/ready", responses=documented(503))
async def ready(db: Db, running: Running) -> Ready:
    """Say whether requests may be sent here: not while the server stops."""
    if running.stopping:
        raise ServerStoppingError("the server is stopping")
    await db.read(orphans.owners_of_streaming)
    return Ready()


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Counters and gauges for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
