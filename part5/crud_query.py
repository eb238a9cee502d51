"""The same four, with values in the query: any character can be written, and any can be missing.

uv run uvicorn part5.crud_query:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, status

app = FastAPI(title="CRUD with query parameters")

Name = Annotated[str, Query(min_length=1, max_length=50)]

nicknames: dict[str, str] = {}


@app.post("/users", status_code=status.HTTP_201_CREATED)
async def create_user(name: Name, nickname: Name) -> dict[str, str]:
    """Add a user; 409 if the name is taken."""
    if name in nicknames:
        raise HTTPException(status.HTTP_409_CONFLICT, f"user {name!r} is there already")
    nicknames[name] = nickname
    return {"name": name, "nickname": nickname}


@app.get("/users")
async def read_user(name: Name) -> dict[str, str]:
    """Return a user; 404 if there is none."""
    return {"name": name, "nickname": nicknames[_known(name)]}


@app.put("/users")
async def update_user(name: Name, nickname: Name) -> dict[str, str]:
    """Change a user's nickname; 404 if there is no such user."""
    nicknames[_known(name)] = nickname
    return {"name": name, "nickname": nickname}


@app.delete("/users", status_code=status.HTTP_204_NO_CONTENT)
async def delete_user(name: Name) -> None:
    """Remove a user; 404 if there is none."""
    del nicknames[_known(name)]


def _known(name: str) -> str:
    if name not in nicknames:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no user {name!r}")
    return name
