"""Values after the question mark: optional, with defaults and limits.

uv run uvicorn part5.query_param:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, Query

app = FastAPI(title="Query parameters")

USERS = [{"name": f"user{number}"} for number in range(1, 101)]


@app.get("/users")
async def list_users(
    skip: Annotated[int, Query(ge=0, description="How many to leave out at the beginning.")] = 0,
    limit: Annotated[int, Query(ge=1, le=50, description="How many at the most.")] = 10,
) -> list[dict[str, str]]:
    """Return a page of a hundred users."""
    return USERS[skip : skip + limit]
