"""The same four, with values in the query: any character can be written, and any can be missing.

uv run uvicorn part5.crud_query:app --port 8000
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, Query, Response

from part5 import problems
from part5.problems import ProblemError, documented

app = FastAPI(title="CRUD with query parameters")
problems.install(app)

Name = Annotated[str, Query(min_length=1, max_length=50)]

nicknames: dict[str, str] = {}


@app.post("/users", status_code=201, responses=documented(409))
async def create_user(name: Name, nickname: Name, response: Response) -> dict[str, str]:
    """Add a user and say where it is; 409 if the name is taken."""
    if name in nicknames:
        raise ProblemError(409, f"user {name!r} is there already")
    nicknames[name] = nickname
    response.headers["Location"] = f"/users?name={quote(name)}"
    return {"name": name, "nickname": nickname}


@app.get("/users", responses=documented(404))
async def read_user(name: Name) -> dict[str, str]:
    """Return a user; 404 if there is none."""
    return {"name": name, "nickname": nicknames[_known(name)]}


@app.put("/users", responses=documented(404))
async def update_user(name: Name, nickname: Name) -> dict[str, str]:
    """Change a user's nickname; 404 if there is no such user."""
    nicknames[_known(name)] = nickname
    return {"name": name, "nickname": nickname}


@app.delete("/users", status_code=204, responses=documented(404))
async def delete_user(name: Name) -> None:
    """Remove a user; 404 if there is none."""
    del nicknames[_known(name)]


def _known(name: str) -> str:
    if name not in nicknames:
        raise ProblemError(404, f"there is no user {name!r}")
    return name
