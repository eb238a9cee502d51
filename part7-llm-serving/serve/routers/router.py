"""All routes."""

from fastapi import APIRouter, Depends

from serve.core.problems import documented
from serve.routers import completions, conversations, health, llm_configs, messages
from serve.routers.dependency import verify_api_key, verify_bearer

api = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(verify_api_key)],
    responses=documented(401, 503, 507),
)
api.include_router(llm_configs.router)
api.include_router(conversations.router)
api.include_router(messages.router)

router = APIRouter()
router.include_router(api)
router.include_router(completions.router, dependencies=[Depends(verify_bearer)])
router.include_router(health.router)
