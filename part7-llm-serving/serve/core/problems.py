"""Errors as RFC 9457 problem documents, whoever raises them: the API, FastAPI or a bug."""

from http import HTTPMethod, HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"

# As RFC 9110 calls them; Python 3.12 still has the older names.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


def _title(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase


class Fault(BaseModel):
    """One value of a request that cannot be used."""

    where: str = Field(examples=["body.name"])
    what: str = Field(examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """What went wrong, for a program (`status`, `type`) and for a person (`title`, `detail`)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no user 7"])
    errors: list[Fault] | None = None


class ProblemError(Exception):
    """Raise it anywhere in a request; the client gets the problem document."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def response(
    status: int,
    detail: str,
    errors: list[Fault] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem document as an HTTP response."""
    problem = Problem(title=_title(status), status=status, detail=detail, errors=errors)
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers these statuses with a problem document."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _title(status),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


BODY = documented(400, 408, 413, 415)  # what every route that reads a body may answer


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document, and say so in its OpenAPI document."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        own = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= own.pop("$defs", {}) | {"Problem": own}
        for operations in document["paths"].values():
            for operation in operations.values():
                if "422" in operation["responses"]:  # FastAPI's own shape of it, which we replace
                    operation["responses"]["422"] = documented(422)[422]
        for replaced in ("HTTPValidationError", "ValidationError"):
            schemas.pop(replaced, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _problem(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ProblemError)
    return response(exc.status, exc.detail, headers=exc.headers)


async def _http(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers) if exc.headers else None
    if exc.status_code == 405:  # by itself the header names the methods of the first route only
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    return response(exc.status_code, str(exc.detail), headers=headers)


def _methods(request: Request) -> set[str]:
    """The methods that the path of a request has, in whichever router its routes are."""
    return {
        method.value
        for method in HTTPMethod
        for route in request.app.routes
        if route.matches({**request.scope, "method": method.value})[0] == Match.FULL
    }


async def _invalid(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    if _is_other_than_json(request, exc):
        return response(415, "send the body with the header Content-Type: application/json")
    errors = [_fault(error) for error in exc.errors()[:20]]
    named = ", ".join(error.where for error in errors[:5])
    return response(422, f"the request cannot be used: {named}", errors)


def _is_other_than_json(request: Request, exc: RequestValidationError) -> bool:
    """Whether FastAPI did not look into the body because of what its header says it is."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    unread = any(error["loc"] == ("body",) and error["type"] != "missing" for error in exc.errors())
    return unread and not content_type.endswith(("/json", "+json"))


def _fault(error: dict[str, Any]) -> Fault:
    """What the validation says, and of text that is no JSON where it stops being JSON."""
    if error["type"] == "json_invalid":
        *place, character = error["loc"]
        why = f"no JSON at character {character}: {error['ctx']['error']}"
        return Fault(where=_where(tuple(place)), what=why)
    return Fault(where=_where(error["loc"]), what=error["msg"])


def _where(location: tuple[int | str, ...]) -> str:
    """The place of a fault; short and valid Unicode, whatever a client calls its fields."""
    return ".".join(map(str, location))[:100].encode("utf-8", "replace").decode("utf-8")


async def _bug(_: Request, __: Exception) -> JSONResponse:
    """Tell the client nothing of it; uvicorn writes the traceback into its log."""
    return response(
        500, "something went wrong here, not in your request; it is in the server's log"
    )
