"""A value in the path: the type of the parameter is what the API accepts.

uv run uvicorn part5.path_param:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, Path

app = FastAPI(title="Path parameters")


@app.get("/users/{user_id}")
async def read_user(
    user_id: Annotated[int, Path(ge=1, description="The user's number.", examples=[7])],
) -> dict[str, int]:
    """Return the number that the path holds."""
    return {"user_id": user_id}
