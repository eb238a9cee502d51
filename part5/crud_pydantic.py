"""The same four with a JSON body: models say what a request holds and what an answer holds.

uv run uvicorn part5.crud_pydantic:app --port 8000
"""

from itertools import count
from typing import Annotated

from fastapi import FastAPI, Path, Response, status

from part5 import problems
from part5.limits import BodyLimit
from part5.problems import BODY, ProblemError, documented
from part5.settings import settings_or_exit
from part5.users import UserId, UserIn, UserOut

app = FastAPI(title="CRUD with models")
problems.install(app)
app.add_middleware(BodyLimit, limit=settings_or_exit().max_body_bytes)

users: dict[int, UserOut] = {}
_numbers = count(1)  # never the length of `users`: after a deletion two would share a number

KnownId = Annotated[UserId, Path()]


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@app.post("/users", status_code=status.HTTP_201_CREATED, responses=BODY | documented(409))
async def create_user(user: UserIn, response: Response) -> UserOut:
    """Add a user and say where it is."""
    _refuse_taken(user.name)
    made = UserOut(id=next(_numbers), **user.model_dump())
    users[made.id] = made
    response.headers["Location"] = f"/users/{made.id}"
    return made


@app.get("/users/{user_id}", responses=documented(404))
async def read_user(user_id: KnownId) -> UserOut:
    """Return a user."""
    return _find(user_id)


@app.put("/users/{user_id}", responses=BODY | documented(404, 409))
async def update_user(user_id: KnownId, user: UserIn) -> UserOut:
    """Replace a user."""
    if _find(user_id).name != user.name:
        _refuse_taken(user.name)
    users[user_id] = UserOut(id=user_id, **user.model_dump())
    return users[user_id]


@app.delete("/users/{user_id}", status_code=status.HTTP_204_NO_CONTENT, responses=documented(404))
async def delete_user(user_id: KnownId) -> None:
    """Remove a user."""
    del users[_find(user_id).id]


def _find(user_id: int) -> UserOut:
    if user_id not in users:
        raise ProblemError(404, f"there is no user {user_id}")
    return users[user_id]


def _refuse_taken(name: str) -> None:
    if any(user.name == name for user in users.values()):
        raise ProblemError(409, f"the name {name!r} is taken")
