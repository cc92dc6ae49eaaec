"""Puts the gate before the API and what it asks for into the API's description, so that both are one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from collector.api.problems import Problem, described
from collector.operating.tracing import NoTracing, Tracing
from driftline.access import OPEN, Access
from driftline.clock import Clock
from driftline.guard import SCOPE_KEY, Guard, Observe, Scope, header, scope_of

_SCHEME = "token"
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


def _uncounted(_path: str, _status: int) -> None:
    """Count nothing."""


def guard_app(
    app: FastAPI,
    access: Access,
    open_paths: Iterable[str],
    now_s: Clock,
    answered: Callable[[str, int], None] = _uncounted,
    tracing: Tracing | None = None,
) -> None:
    """Put the guard before ``app``, and what it asks for into the description of the API."""
    pages = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    opened = frozenset({*open_paths, *(page for page in pages if page)})
    observe = _observing(answered, tracing or NoTracing())
    app.add_middleware(Guard, access=access, open_paths=opened, now_s=now_s, observe=observe)
    app.openapi = _describer(app, opened)  # type: ignore[method-assign]


def _observing(answered: Callable[[str, int], None], tracing: Tracing) -> Observe:
    @contextmanager
    def observe(path: str, scope: Scope) -> Iterator[Callable[[int], None]]:
        name = f"{scope['method']} {path}"  # never what stands in its place, which may be anybody's id
        with tracing.span(name, parent=header(scope, b"traceparent")) as span:

            def told(status: int) -> None:
                answered(path, status)
                span.note("status", status)

            yield told

    return observe


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
    operation[SCOPE_KEY] = scope
    answers = operation.setdefault("responses", {})
    if "422" in answers and "HTTPValidationError" in str(answers["422"]):
        answers["422"] = described("A parameter is wrong; `faults` says which.")
    if scope == OPEN:
        operation["security"] = []
        return
    operation["security"] = [{_SCHEME: [scope]}]
    answers.setdefault("401", _UNAUTHORISED)
    answers.setdefault("403", _FORBIDDEN)
