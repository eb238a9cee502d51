"""/api/v1/llm-configs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from serve.core.problems import BODY, documented
from serve.cruds import llm_configs
from serve.routers.dependency import Db
from serve.schemas.common import LARGEST_ID, Id
from serve.schemas.llm_config import (
    LLMConfigChange,
    LLMConfigIn,
    LLMConfigOut,
    LLMConfigPage,
)

router = APIRouter(prefix="/llm-configs", tags=["llm configs"])
KnownId = Annotated[Id, Path()]


@router.post("", status_code=status.HTTP_201_CREATED, responses=BODY | documented(409))
async def create(config: LLMConfigIn, db: Db, response: Response) -> LLMConfigOut:
    """Add a configuration; its name is unique."""
    values = config.model_dump()
    made = await db.write(lambda s: LLMConfigOut.model_validate(llm_configs.add(s, values)))
    response.headers["Location"] = f"/api/v1/llm-configs/{made.id}"
    return made


@router.get("")
async def page(
    db: Db,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> LLMConfigPage:
    """List configurations in the order of their ids."""
    found = await db.read(lambda s: llm_configs.page(s, after, limit + 1))
    shown = [LLMConfigOut.model_validate(each) for each in found[:limit]]
    more = None
    if len(found) > limit:
        more = f"/api/v1/llm-configs?after={shown[-1].id}&limit={limit}"
    return LLMConfigPage(llm_configs=shown, next=more)


@router.get("/{config_id}", responses=documented(404))
async def read(config_id: KnownId, db: Db) -> LLMConfigOut:
    """Return a configuration."""
    return LLMConfigOut.model_validate(await db.read(lambda s: llm_configs.get(s, config_id)))


@router.patch("/{config_id}", responses=BODY | documented(404, 409))
async def change(config_id: KnownId, config: LLMConfigChange, db: Db) -> LLMConfigOut:
    """Change some of it; replies that exist keep what they were made with."""
    values = config.model_dump(exclude_unset=True)
    return await db.write(
        lambda s: LLMConfigOut.model_validate(llm_configs.change(s, config_id, values))
    )


@router.delete("/{config_id}", status_code=status.HTTP_204_NO_CONTENT, responses=documented(404))
async def delete(config_id: KnownId, db: Db) -> None:
    """Remove it; conversations that used it go on with the server's default."""
    await db.write(lambda s: llm_configs.remove(s, config_id))
