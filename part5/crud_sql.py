"""The same API with users that survive a restart: in SQLite, or in PostgreSQL by one variable.

uv run uvicorn part5.crud_sql:app --port 8000
USERS_DATABASE_URL=postgresql+psycopg://myuser:mypassword@localhost:5432/mydatabase \
    uv run uvicorn part5.crud_sql:app --port 8000
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response, status
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from part5 import problems
from part5.database import AWAY
from part5.limits import BodyLimit
from part5.preconditions import IF_MATCH, KnownVersions
from part5.problems import BODY, ProblemError, documented
from part5.settings import settings_or_exit
from part5.startup import OneLineStart, stop_signal
from part5.user_store import ChangedError, NameTakenError, User, UserStore
from part5.users import Page, UserId, UserIn, UserOut

log = logging.getLogger("uvicorn.error")  # in uvicorn's own form, among its own lines
settings = settings_or_exit()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database before the first request; close it after the last one is answered."""
    url = settings.users_database_url.get_secret_value()
    with stop_signal() as stopped:
        app.state.users = await run_in_threadpool(UserStore, url, settings.db_wait_seconds, stopped)
    yield
    app.state.users.close()


app = FastAPI(title="CRUD in a database", lifespan=lifespan, responses=documented(503))
problems.install(app)
app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
app.add_middleware(OneLineStart)


async def database_is_away(request: Request, exc: Exception) -> JSONResponse:
    """503, and when to come back: the next request connects anew, nothing has to be restarted."""
    cause = str(getattr(exc, "orig", exc)).strip().splitlines()[0]
    log.warning("%s %s: %s", request.method, request.url.path, cause)
    detail = "the database does not answer; what you asked for may be done or not, so look first"
    return problems.response(503, detail, headers={"Retry-After": "2"})


for kind in AWAY:
    app.add_exception_handler(kind, database_is_away)


def users(request: Request) -> UserStore:
    """The store that the lifespan opened."""
    store: UserStore = request.app.state.users
    return store


Users = Annotated[UserStore, Depends(users)]
KnownId = Annotated[UserId, Path()]


@app.get("/health")
def health(store: Users) -> dict[str, str]:
    """Say that the process answers and its database does."""
    store.ping()
    return {"status": "ok"}


@app.post("/users", status_code=status.HTTP_201_CREATED, responses=BODY | documented(409))
def create_user(user: UserIn, store: Users, response: Response) -> UserOut:
    """Add a user and say where it is."""
    try:
        made = store.add(user)
    except NameTakenError:
        raise ProblemError(409, f"the name {user.name!r} is taken") from None
    response.headers["Location"] = f"/users/{made.id}"
    return _answer(made, response)


@app.get("/users")
def list_users(
    store: Users,
    after: Annotated[
        int, Query(ge=0, le=2**63 - 1, description="The last number of the page before.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page:
    """Return a page of users in the order of their numbers."""
    found = store.page(after, limit + 1)
    shown = [UserOut.model_validate(user) for user in found[:limit]]
    more = f"/users?after={shown[-1].id}&limit={limit}" if len(found) > limit else None
    return Page(users=shown, next=more)


@app.get("/users/{user_id}", responses=documented(404))
def read_user(user_id: KnownId, store: Users, response: Response) -> UserOut:
    """Return a user; its ETag is what an update must bring back."""
    found = store.get(user_id)
    if found is None:
        raise ProblemError(404, f"there is no user {user_id}")
    return _answer(found, response)


@app.put(
    "/users/{user_id}",
    responses=BODY | documented(404, 409, 412, 428),
    openapi_extra={"parameters": [IF_MATCH]},
)
def update_user(
    user_id: KnownId, user: UserIn, versions: KnownVersions, store: Users, response: Response
) -> UserOut:
    """Replace a user, if nobody has changed it since it was read."""
    try:
        changed = store.replace(user_id, user, versions)
    except NameTakenError:
        raise ProblemError(409, f"the name {user.name!r} is taken") from None
    except ChangedError as exc:
        raise ProblemError(
            412, f'user {user_id} was changed meanwhile (ETag "{exc.version}"); read it again'
        ) from None
    if changed is None:
        raise ProblemError(404, f"there is no user {user_id}")
    return _answer(changed, response)


@app.delete("/users/{user_id}", status_code=status.HTTP_204_NO_CONTENT, responses=documented(404))
def delete_user(user_id: KnownId, store: Users) -> None:
    """Remove a user."""
    if not store.remove(user_id):
        raise ProblemError(404, f"there is no user {user_id}")


def _answer(user: User, response: Response) -> UserOut:
    response.headers["ETag"] = f'"{user.version}"'
    return UserOut.model_validate(user)
