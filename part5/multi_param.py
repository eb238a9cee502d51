"""Path and query together: the path says which thing, the query says how much of it.

uv run uvicorn part5.multi_param:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, Path, Query

app = FastAPI(title="Path and query parameters")


@app.get("/users/{user_id}/items/{item_id}")
async def read_item(
    user_id: Annotated[int, Path(ge=1)],
    item_id: Annotated[str, Path(min_length=1, max_length=50, examples=["book"])],
    size: Annotated[int, Query(ge=1, le=1000, description="How many pieces.")] = 1,
    note: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, int | str | None]:
    """Return what the request said, with the types it has now."""
    return {"user_id": user_id, "item_id": item_id, "size": size, "note": note}
