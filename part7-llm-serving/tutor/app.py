"""The tutor as a server that speaks OpenAI's API."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from tutor import errors, tokens
from tutor.answer import Tutor
from tutor.completion import complete
from tutor.limits import BodyLimit
from tutor.request_log import LogRequests
from tutor.schemas import MODEL, ChatRequest, TokenizeRequest
from tutor.streaming import stream

log = structlog.get_logger()

CREATED = 1_760_000_000  # a model has to say when it was made; clients sort by it


def create_app(
    tutor: Tutor, tokens_per_second: float, stopping: Callable[[], bool] = lambda: False
) -> FastAPI:
    """Make the server; `stopping` says whether it is to end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        log.info("ready", passages=len(tutor.passages), tokens_per_second=tokens_per_second)
        yield

    app = FastAPI(
        title="Tutor",
        lifespan=lifespan,
        openapi_url=None,  # OpenAI's documentation is that of this server
        # For OpenTelemetry, which nobody collects here: it would look for it at every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    errors.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(LogRequests)

    # Not async: a search takes milliseconds, in which the streams of the others go on.
    @app.post("/v1/chat/completions")
    def chat_completions(request: Request, asked: ChatRequest) -> Response:
        """Answer the last question, whole or as a stream of server-sent events."""
        completion = complete(asked, tutor)
        log_line = request.state.log_line
        log_line |= {
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": len(completion.pieces),
            "finish": completion.finish_reason,
        }
        if not asked.stream:
            return Response(completion.whole(), media_type="application/json")
        events = stream(
            completion,
            per_second=tokens_per_second,
            with_usage=asked.with_usage,
            stopping=stopping,
            log_line=log_line,
        )
        headers = {"Cache-Control": "no-cache"}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    @app.post("/tokenize")
    def tokenize(asked: TokenizeRequest) -> Response:
        """The tokens of a text, for a client that has to know how long it is."""
        ids = [tokens.token_id(piece) for piece in tokens.pieces_of(asked.text)]
        document = {"count": len(ids), "max_model_len": tokens.MAX_MODEL_LEN, "tokens": ids}
        return Response(orjson.dumps(document), media_type="application/json")

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        """The one model there is; a request may call it as it likes."""
        model = {
            "id": MODEL,
            "object": "model",
            "created": CREATED,
            "owned_by": "course",
            "max_model_len": tokens.MAX_MODEL_LEN,
        }
        return {"object": "list", "data": [model]}

    @app.get("/health")
    async def health() -> dict[str, object]:
        """Whether it answers, and from how many passages."""
        return {"status": "ok", "passages": len(tutor.passages)}

    return app
