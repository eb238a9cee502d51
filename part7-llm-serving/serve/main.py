"""The chat server.

uv run python -m serve.main        (from the folder part7-llm-serving)
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serve.core import problems
from serve.core.config import Settings, settings_or_exit
from serve.core.errors import ChatError
from serve.core.limits import BodyLimit
from serve.core.llm import LlmClient
from serve.core.logging import set_up_logging
from serve.core.metrics import CountRequests
from serve.core.mlflow import Mlflow
from serve.core.ownership import ownership
from serve.core.request_id import RequestId
from serve.core.streaming import ClientGoneError
from serve.core.tracing import Tracing
from serve.database import Database
from serve.migrate import migrate_or_exit
from serve.routers.dependency import State
from serve.routers.router import router
from serve.services.chat import Chat
from serve.services.generations import Generations
from serve.services.recovery import Recovery

log = structlog.get_logger()

# The database's threads give Python's lock away at every step of SQLite, and wait for it while the
# event loop is busy: for five milliseconds each time, if nobody said otherwise.
SWITCH_SECONDS = 0.0005
STOP_SECONDS = 5.0  # beyond the grace period, for the last answers to be sent


def create_app(settings: Settings) -> FastAPI:
    """Make the server; the database's tables are there already."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(settings.database_url.get_secret_value())
        lock = ownership(database)
        await asyncio.to_thread(lock.hold)
        llm = LlmClient(settings)
        mlflow = Mlflow(settings) if settings.mlflow_tracking_uri else None
        tracing = Tracing(mlflow, content=settings.trace_content)
        generations = Generations(settings, database, llm, tracing)
        chat = Chat(settings, database, llm, generations, lock.name)
        app.state.chat = State(
            settings, database, llm, mlflow, tracing, generations, chat, asyncio.get_running_loop()
        )
        recovery = Recovery(database, lock, generations, tracing)
        await recovery.end_orphans()
        beside = [
            asyncio.create_task(generations.keep_saving()),
            asyncio.create_task(recovery.look_now_and_then()),
        ]
        if mlflow is not None:
            beside.append(asyncio.create_task(mlflow.keep_sending(), name="mlflow"))
        for task in beside:
            task.add_done_callback(_say_why)
        # What was imported stays for good. Looking through it for garbage would now and then hold
        # up every stream, for tens of milliseconds.
        gc.collect()
        gc.freeze()
        log.info("ready", models=settings.llm_urls, database=database.url.get_backend_name())
        try:
            yield
        finally:
            async with AsyncExitStack() as closing:  # from the last line up, whatever fails
                closing.push_async_callback(asyncio.to_thread, database.close)
                closing.push_async_callback(asyncio.to_thread, lock.release)
                if mlflow is not None:
                    closing.push_async_callback(mlflow.close)
                closing.push_async_callback(llm.close)
                closing.push_async_callback(_end, beside)
                closing.push_async_callback(generations.drain, 0)
                # Or a turn that is being written would start too late.
                closing.push_async_callback(chat.finish_beginning)

    app = FastAPI(
        title="Chat",
        summary="Conversations with any OpenAI-compatible model; nothing of them is lost.",
        lifespan=lifespan,
        # For OpenTelemetry: this server writes spans of its own.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.api_keys = settings.api_keys
    problems.install(app)
    app.add_exception_handler(ChatError, _chat_error)
    app.add_exception_handler(ClientGoneError, _nobody_there)
    app.include_router(router)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(CountRequests)
    app.add_middleware(RequestId)
    return app


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # `_say_why` has logged them


def _say_why(task: asyncio.Task[None]) -> None:
    """Log what nobody foresaw: nobody awaits a task that never ends."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("a task of the server has ended", task=task.get_name(), exc_info=exc)


async def _chat_error(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ChatError)
    headers = {} if exc.retry_after is None else {"Retry-After": str(exc.retry_after)}
    return problems.response(exc.status, str(exc), headers=headers)


async def _nobody_there(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nginx's number for it; only the metrics see it


class Server(uvicorn.Server):
    """uvicorn, which on SIGTERM first lets running replies come to their end.

    By itself it stops accepting at once, and a load balancer that has not heard of it sends
    requests into the void.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._signals = 0
        self._draining: list[asyncio.Task[None]] = []

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begin to drain; a second signal ends the grace period, a third one waits for nothing."""
        self._signals += 1
        state: State | None = getattr(self._app.state, "chat", None)
        if state is None or self._signals > 2 or not self.started:
            super().handle_exit(sig, frame)  # type: ignore[arg-type]
            return
        state.generations.stopping = True  # /ready fails from now on
        seconds = self._drain_seconds if self._signals == 1 else 0.0
        state.loop.call_soon_threadsafe(self._begin_drain, state.generations, sig, seconds)

    def _begin_drain(self, generations: Generations, sig: int, seconds: float) -> None:
        self._draining.append(asyncio.create_task(self._drain(generations, sig, seconds)))

    async def _drain(self, generations: Generations, sig: int, seconds: float) -> None:
        log.info("stopping", running=generations.count, grace_seconds=seconds)
        await generations.drain(seconds)
        if not self.should_exit:  # a second SIGINT would tell uvicorn to cut its clients off
            super().handle_exit(sig, None)


def main() -> None:
    """Migrate, and serve until a signal comes."""
    settings = settings_or_exit()
    set_up_logging()
    migrate_or_exit(settings.database_url.get_secret_value(), settings.db_wait_seconds)
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.chat_host,
        port=settings.chat_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
    server = Server(config, app, settings.drain_seconds)
    with suppress(KeyboardInterrupt):
        server.run()


if __name__ == "__main__":
    main()
