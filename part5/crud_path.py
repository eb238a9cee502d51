"""Create, read, update and delete, with every value in the path.

uv run uvicorn part5.crud_path:app --port 8000

It works, and it shows why nobody does it: a nickname with a slash cannot be written, and every
proxy on the way keeps the values in its log.
"""

from fastapi import FastAPI, HTTPException, status

app = FastAPI(title="CRUD with path parameters")

nicknames: dict[str, str] = {}


@app.post("/users/name/{name}/nickname/{nickname}", status_code=status.HTTP_201_CREATED)
async def create_user(name: str, nickname: str) -> dict[str, str]:
    """Add a user; 409 if the name is taken."""
    if name in nicknames:
        raise HTTPException(status.HTTP_409_CONFLICT, f"user {name!r} is there already")
    nicknames[name] = nickname
    return {"name": name, "nickname": nickname}


@app.get("/users/name/{name}")
async def read_user(name: str) -> dict[str, str]:
    """Return a user; 404 if there is none."""
    return {"name": name, "nickname": nicknames[_known(name)]}


@app.put("/users/name/{name}/nickname/{nickname}")
async def update_user(name: str, nickname: str) -> dict[str, str]:
    """Change a user's nickname; 404 if there is no such user."""
    nicknames[_known(name)] = nickname
    return {"name": name, "nickname": nickname}


@app.delete("/users/name/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_user(name: str) -> None:
    """Remove a user; 404 if there is none."""
    del nicknames[_known(name)]


def _known(name: str) -> str:
    if name not in nicknames:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no user {name!r}")
    return name
