"""Asks who wants something before anything of a request is read: every endpoint has a scope, or says that it is open.

An endpoint says its scope beside its description, ``openapi_extra=needs(access.LABELS_WRITE)``, so that the manual, the
description of the API and what is enforced are one. An endpoint that says nothing needs ``admin``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.api.problems import Problem, described, refusal
from collector.operating.tracing import NoTracing, Tracing
from driftline.access import ADMIN, EVERYBODY, OPEN, Access, AccessError, Grant
from driftline.clock import Clock

_SCOPE = "x-driftline-scope"
_SCHEME = "token"
_GRANT = "driftline_grant"
_NOWHERE = "none"
_UNAUTHORISED = described("No token, or one that is not known here or has expired.")
_FORBIDDEN = described("The token lacks the scope, or is not for this model; `needs` says which.")
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "A token from `driftline tokens create`. Where only an URL can be given, HTTP Basic with the token as password "
        "does as well."
    ),
}


def needs(scope: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an endpoint's ``openapi_extra`` says so that only tokens with ``scope`` get in."""
    return {_SCOPE: scope, **(extra or {})}


def grant_of(request: Request) -> Grant:
    """Who asks; everybody where no tokens are asked for."""
    found = request.scope.get("state", {}).get(_GRANT, EVERYBODY)
    return found if isinstance(found, Grant) else EVERYBODY


def scope_of(route: BaseRoute, open_paths: Iterable[str]) -> str:
    """The scope that a route needs."""
    if str(getattr(route, "path", "")) in open_paths:
        return OPEN
    extra = getattr(route, "openapi_extra", None) or {}
    return str(extra.get(_SCOPE, ADMIN))


class Guard:
    """An ASGI middleware; ``open_paths`` need no token. ``answered`` is told every answer's endpoint and status."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        open_paths: frozenset[str],
        now_s: Clock,
        answered: Callable[[str, int], None],
        tracing: Tracing,
    ) -> None:
        self._tracing = tracing
        self._app = app
        self._access = access
        self._open_paths = open_paths
        self._now_s = now_s
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its grant, or answer 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, needed = self._endpoint(scope)
        name = f"{scope['method']} {path}"  # never what stands in its place, which may be anybody's id
        with self._tracing.span(name, parent=_header(scope, b"traceparent")) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._answered(path, message["status"])
                    span.note("status", message["status"])
                await send(message)

            await self._let_in(needed, scope, receive, told)

    async def _let_in(self, needed: str, scope: Scope, receive: Receive, told: Send) -> None:
        if needed != OPEN:
            try:
                grant = self._access.grant(_header(scope, b"authorization"), self._now_s())
                grant.require(needed)
            except AccessError as error:
                await refusal(error)(scope, receive, told)
                return
            scope.setdefault("state", {})[_GRANT] = grant
        await self._app(scope, receive, told)

    def _endpoint(self, scope: Scope) -> tuple[str, str]:
        """The template of the endpoint's path, and its scope."""
        nearly = (_NOWHERE, OPEN)  # what does not exist is answered 404 to everybody
        for route in scope["app"].router.routes:
            match, _ = route.matches(scope)
            if match == Match.NONE:
                continue
            found = (str(getattr(route, "path_format", route)), scope_of(route, self._open_paths))
            if match == Match.FULL:
                return found
            if nearly[0] == _NOWHERE:  # another method
                nearly = found
        return nearly


def _nobody(_path: str, _status: int) -> None:
    """Nobody counts."""


def guard_app(
    app: FastAPI,
    access: Access,
    open_paths: Iterable[str],
    now_s: Clock,
    answered: Callable[[str, int], None] = _nobody,
    tracing: Tracing | None = None,
) -> None:
    """Put the guard before ``app``, and what it asks for into the description of the API."""
    pages = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    opened = frozenset({*open_paths, *(page for page in pages if page)})
    app.add_middleware(
        Guard, access=access, open_paths=opened, now_s=now_s, answered=answered, tracing=tracing or NoTracing()
    )
    app.openapi = _describer(app, opened)  # type: ignore[method-assign]


def _describer(app: FastAPI, open_paths: frozenset[str]) -> Callable[[], dict[str, Any]]:
    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app, open_paths)
        return app.openapi_schema

    return describe


def _describe(app: FastAPI, open_paths: frozenset[str]) -> dict[str, Any]:
    description = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = description.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {_SCHEME: _TOKEN}
    for route in app.routes:
        described_there = description["paths"].get(getattr(route, "path_format", None), {})
        for method in getattr(route, "methods", None) or ():
            if method.lower() in described_there:
                _demand(described_there[method.lower()], scope_of(route, open_paths))
    return description


def _demand(operation: dict[str, Any], scope: str) -> None:
    operation[_SCOPE] = scope
    answers = operation.setdefault("responses", {})
    if "422" in answers and "HTTPValidationError" in str(answers["422"]):
        answers["422"] = described("A parameter is wrong; `faults` says which.")
    if scope == OPEN:
        operation["security"] = []
        return
    operation["security"] = [{_SCHEME: [scope]}]
    answers.setdefault("401", _UNAUTHORISED)
    answers.setdefault("403", _FORBIDDEN)


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value).decode("latin-1")
    return None
