"""Create, read, update and delete, with every value in the path.

uv run uvicorn part5.crud_path:app --port 8000

It works, and it shows why nobody does it: a nickname with a slash cannot be written, and every
proxy on the way keeps the values in its log.
"""

from urllib.parse import quote

from fastapi import FastAPI, Response

from part5 import problems
from part5.problems import ProblemError, documented

app = FastAPI(title="CRUD with path parameters")
problems.install(app)

nicknames: dict[str, str] = {}


@app.post("/users/name/{name}/nickname/{nickname}", status_code=201, responses=documented(409))
async def create_user(name: str, nickname: str, response: Response) -> dict[str, str]:
    """Add a user and say where it is; 409 if the name is taken."""
    if name in nicknames:
        raise ProblemError(409, f"user {name!r} is there already")
    nicknames[name] = nickname
    response.headers["Location"] = f"/users/name/{quote(name, safe='')}"
    return {"name": name, "nickname": nickname}


@app.get("/users/name/{name}", responses=documented(404))
async def read_user(name: str) -> dict[str, str]:
    """Return a user; 404 if there is none."""
    return {"name": name, "nickname": nicknames[_known(name)]}


@app.put("/users/name/{name}/nickname/{nickname}", responses=documented(404))
async def update_user(name: str, nickname: str) -> dict[str, str]:
    """Change a user's nickname; 404 if there is no such user."""
    nicknames[_known(name)] = nickname
    return {"name": name, "nickname": nickname}


@app.delete("/users/name/{name}", status_code=204, responses=documented(404))
async def delete_user(name: str) -> None:
    """Remove a user; 404 if there is none."""
    del nicknames[_known(name)]


def _known(name: str) -> str:
    if name not in nicknames:
        raise ProblemError(404, f"there is no user {name!r}")
    return name
