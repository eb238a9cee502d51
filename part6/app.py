"""Serve the downloaded model over HTTP.

uv run uvicorn part6.app:app --port 8000 --timeout-graceful-shutdown 15

The last option bounds a stop for which a client that does not read its answer would never be done.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI

from part6 import problems
from part6.command import BadUsageError
from part6.draining import Drain, SayGoodbye
from part6.limits import BodyLimit
from part6.metrics import CountRequests
from part6.model_routes import model_routes
from part6.predict_routes import Predicting, predict_routes, short_ways
from part6.prediction_table import PredictionTable
from part6.recorder import Recorder
from part6.serving import Serving
from part6.settings import Settings, load_settings
from part6.short_way import ShortWay

log = structlog.get_logger()

BODY_SECONDS = 10.0  # for a body to arrive; a stop waits for it, too


def create_app(settings: Settings) -> FastAPI:
    """Make the server: routes, limits, and what runs beside the requests."""
    serving = Serving(settings)
    drain = Drain()
    recorder = (
        Recorder(PredictionTable(settings), settings.record_queue_rows)
        if settings.record_predictions
        else None
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Load the model before the first request; write every prediction after the last one."""
        await serving.load()
        # What was imported stays for good. Looking through it for garbage would now and then hold
        # up every answer, for tens of milliseconds.
        gc.collect()
        gc.freeze()
        if recorder is not None:
            recorder.start()
        watcher = (
            asyncio.create_task(serving.watch(settings.model_watch_seconds))
            if settings.model_watch_seconds
            else None
        )
        if watcher is not None:
            watcher.add_done_callback(say_why)
        with drain.on_sigterm():
            yield
        try:
            if watcher is not None:
                watcher.cancel()
                with suppress(asyncio.CancelledError):
                    await watcher
        finally:
            if recorder is not None:
                await asyncio.to_thread(recorder.close)

    app = FastAPI(
        title="Iris",
        summary="A registered model over HTTP.",
        lifespan=lifespan,
        # For OpenTelemetry, which nobody collects here: it would look for it at every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    problems.install(app)
    predicting = Predicting(serving, recorder)
    app.include_router(predict_routes(predicting))
    app.include_router(model_routes(serving, drain, settings.model_api_key))
    app.add_middleware(ShortWay, shorts=short_ways(predicting))
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, seconds=BODY_SECONDS)
    app.add_middleware(SayGoodbye, drain=drain)
    app.add_middleware(CountRequests)
    return app


def say_why(watcher: asyncio.Task[None]) -> None:
    """Log what nobody foresaw: nobody awaits a task that never ends."""
    if not watcher.cancelled() and (exc := watcher.exception()) is not None:
        log.error("the watcher has ended, the alias is no longer followed", exc_info=exc)


def _settings() -> Settings:
    try:
        return load_settings()
    except BadUsageError as exc:  # uvicorn would show the traceback of an import
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(exc.exit_status) from None


app = create_app(_settings())
