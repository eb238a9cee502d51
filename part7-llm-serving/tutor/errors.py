"""Errors in the shape that OpenAI's clients know, whoever raises them."""

from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

NO_OBJECT = "the body must be a JSON object, sent with the header Content-Type: application/json"


class ApiError(Exception):
    """Raise it anywhere in a request; the client gets the error."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def response(
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as an HTTP response."""
    content = orjson.dumps(body(status, message, param, code))
    return Response(content, status, headers, "application/json")


def install(app: FastAPI) -> None:
    """Answer every error of `app` in OpenAI's shape."""
    app.add_exception_handler(ApiError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)


async def _ours(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return response(exc.status, exc.message, exc.param, exc.code)


async def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    message = str(exc.detail)
    if message == HTTPStatus(exc.status_code).phrase:  # Starlette's own, which says nothing more
        message = f"{message}: {request.method} {request.url.path[:200]}"
    headers = dict(exc.headers) if exc.headers else None
    return response(exc.status_code, message, headers=headers)


async def _invalid(_: Request, exc: Exception) -> Response:
    """Report the first fault: 400, as OpenAI does, where FastAPI would say 422."""
    assert isinstance(exc, RequestValidationError)
    fault = exc.errors()[0]
    place = fault["loc"][1:]
    if fault["type"] == "json_invalid":
        return response(
            400, f"the body is no JSON at character {place[0]}: {fault['ctx']['error']}"
        )
    why = fault["msg"].removeprefix("Value error, ")
    if not place:
        return response(400, why if fault["type"] == "value_error" else NO_OBJECT)
    param = _param(place)
    return response(400, f"{param}: {why}", param)


def _param(place: tuple[int | str, ...]) -> str:
    """The place of a fault as OpenAI writes it, for example `messages[0].content`."""
    named = ""
    for step in place:
        named += f"[{step}]" if isinstance(step, int) else f".{step}"
    return named.removeprefix(".")[:100]


async def _bug(_: Request, __: Exception) -> Response:
    """Tell the client nothing of it; uvicorn writes the traceback into its log."""
    return response(
        500, "something went wrong here, not in your request; it is in the server's log"
    )
