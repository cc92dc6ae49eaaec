"""The one form of errors of the HTTP API: RFC 9457, ``application/problem+json``, with what is wrong in ``detail``."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from driftline.access import AccessError
from driftline.errors import TransientError
from driftline.guard import PROBLEM_TYPE, problem_of

RETRY_AFTER_S = "5"
_CLIENT_GONE = 499  # no standard has one; nginx calls it so, and people look for it


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    title: str = Field(description="What the status means.", examples=["Forbidden"])
    status: int = Field(description="The status code, again.", examples=[403])
    detail: str = Field(
        description="What is wrong here, and what would be right.",
        examples=["token 'feed' lacks the scope 'labels:write' (send labels and upload files of them)"],
    )
    needs: str | None = Field(None, description="The scope or model that the token lacks.", examples=["labels:write"])
    faults: list[str] | None = Field(None, description="Each wrong field with its value.")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """An answer in the one form; ``more`` is left out where it is empty."""
    content = {"title": _title(status), "status": status, "detail": detail}
    content |= {name: value for name, value in more.items() if value}
    return JSONResponse(content, status, dict(headers or {}), media_type=PROBLEM_TYPE)


def described(description: str) -> dict[str, Any]:
    """An answer in the one form, as the description of the API has it."""
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def refusal(error: AccessError) -> Response:
    """The answer to somebody who may not."""
    status, headers, body = problem_of(error)
    return Response(body, status, dict(headers))


def add_problem_handlers(app: FastAPI) -> None:
    """Give every error the one form."""
    app.add_exception_handler(TransientError, _unavailable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AccessError, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)


async def _unavailable(_request: Request, error: Exception) -> Response:
    return problem(503, str(error), {"Retry-After": RETRY_AFTER_S})


async def _http(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return problem(status, str(getattr(error, "detail", "")) or _title(status), getattr(error, "headers", None))


async def _invalid(_request: Request, error: Exception) -> Response:
    faults = [_fault(each) for each in error.errors()] if isinstance(error, RequestValidationError) else []
    return problem(422, "; ".join(faults) or "the request is not as described", faults=faults)


async def _refused(_request: Request, error: Exception) -> Response:
    return refusal(error if isinstance(error, AccessError) else AccessError(403, "refused"))


async def _gone(_request: Request, _error: Exception) -> Response:
    # Nobody hears it; it is what the counts of answers and the spans say.
    return problem(_CLIENT_GONE, "the sender closed the connection before its request ended")


async def _broken(_request: Request, _error: Exception) -> Response:
    # The log has the error; it may hold what is nobody's business.
    return problem(500, "a fault of the collector; its log says more")


def _fault(each: Mapping[str, Any]) -> str:
    # Not the value: it may be of a payload, or a secret in the wrong place.
    return f"{' '.join(str(part) for part in each.get('loc', ()))}: {each.get('msg', 'is wrong')}"


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
