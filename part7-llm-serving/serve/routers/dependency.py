"""What routes ask for. All async: FastAPI runs the rest in threads, which costs more than it."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from serve.core.config import Settings
from serve.core.llm import LlmClient
from serve.core.mlflow import Mlflow
from serve.core.problems import ProblemError
from serve.core.tracing import Tracing
from serve.database import Database
from serve.services.chat import Chat
from serve.services.generations import Generations

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The course's is `mykey`.")
_bearer = HTTPBearer(auto_error=False, description="The same key, as OpenAI's clients send it.")


@dataclass
class State:
    """What the lifespan made."""

    settings: Settings
    database: Database
    llm: LlmClient
    mlflow: Mlflow | None
    tracing: Tracing
    generations: Generations
    chat: Chat
    loop: asyncio.AbstractEventLoop


async def get_state(request: Request) -> State:
    """All of it."""
    state: State = request.app.state.chat
    return state


async def get_db(state: Annotated[State, Depends(get_state)]) -> Database:
    """The database; each `read` or `write` is one transaction."""
    return state.database


async def get_llm_client(state: Annotated[State, Depends(get_state)]) -> LlmClient:
    """The client of the model servers."""
    return state.llm


async def get_chat(state: Annotated[State, Depends(get_state)]) -> Chat:
    """Turns."""
    return state.chat


async def get_generations(state: Annotated[State, Depends(get_state)]) -> Generations:
    """The replies that run now."""
    return state.generations


async def verify_api_key(request: Request, key: Annotated[str | None, Depends(_header)]) -> None:
    """Let in who has a key."""
    _verify(request, key, "the header X-API-Key does not hold a key of this server", "APIKey")


async def verify_bearer(
    request: Request, login: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let in who has a key and is an OpenAI client."""
    key = login.credentials if login else None
    _verify(request, key, "the api_key of your client is no key of this server", "Bearer")


def _verify(request: Request, key: str | None, detail: str, scheme: str) -> None:
    if key is None or not request.app.state.api_keys.admit(key):
        raise ProblemError(401, detail, {"WWW-Authenticate": scheme})


StateDep = Annotated[State, Depends(get_state)]
Db = Annotated[Database, Depends(get_db)]
Llm = Annotated[LlmClient, Depends(get_llm_client)]
ChatDep = Annotated[Chat, Depends(get_chat)]
Running = Annotated[Generations, Depends(get_generations)]
