"""The gate before an HTTP application: who asks, before anything of a request is read.

Every endpoint has a scope or says that it is open. It says so beside its description,
``openapi_extra=needs(access.LABELS_WRITE)``; one that says nothing needs ``admin``. ASGI is dictionaries and callables,
so that no web framework is imported here; servers without ASGI ask ``Access.allow`` and answer ``problem_of``.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from driftline.access import ADMIN, EVERYBODY, OPEN, Access, AccessError, Grant
from driftline.clock import Clock

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBLEM_TYPE = "application/problem+json"
#: Where an operation of an API's description says which scope it needs.
SCOPE_KEY = "x-driftline-scope"
_GRANT = "driftline_grant"
_NOWHERE = "none"


class Refusal(NamedTuple):
    """The answer to a request that is not allowed, or not yet."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HasScope(Protocol):
    """A request of any web framework that follows ASGI."""

    @property
    def scope(self) -> Scope:
        """As ASGI gives it."""
        ...


#: Told an endpoint's path and its request, gives what is told the status of the answer.
Observe = Callable[[str, Scope], AbstractContextManager[Callable[[int], None]]]


def problem_of(error: AccessError) -> Refusal:
    """The refusal in the form of RFC 9457.

    >>> problem_of(AccessError(403, "no", "data:read")).body
    b'{"title": "Forbidden", "status": 403, "detail": "no", "needs": "data:read"}'
    """
    headers = {"content-type": PROBLEM_TYPE}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="driftline"'
    content = {"title": HTTPStatus(error.status).phrase, "status": error.status, "detail": error.detail}
    if error.needs:
        content["needs"] = error.needs
    return Refusal(error.status, headers, json.dumps(content).encode())


def needs(scope: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an endpoint's ``openapi_extra`` says so that only tokens with ``scope`` get in."""
    return {SCOPE_KEY: scope, **(extra or {})}


def scope_of(route: object, open_paths: Iterable[str]) -> str:
    """The scope that a route needs."""
    if str(getattr(route, "path", "")) in open_paths:
        return OPEN
    extra = getattr(route, "openapi_extra", None) or {}
    return str(extra.get(SCOPE_KEY, ADMIN))


def grant_of(request: HasScope) -> Grant:
    """Who asks; everybody where no tokens are asked for."""
    found = request.scope.get("state", {}).get(_GRANT, EVERYBODY)
    return found if isinstance(found, Grant) else EVERYBODY


def header(scope: Scope, wanted: bytes) -> str | None:
    """A request's header; ``wanted`` in small letters."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value).decode("latin-1")
    return None


def authorization(scope: Scope) -> str | None:
    """The ``Authorization`` header."""
    return header(scope, b"authorization")


def problem(error: AccessError, _scope: Scope) -> Refusal:
    """The refusal as programs get it: :func:`problem_of`."""
    return problem_of(error)


def _ignore_status(_status: int) -> None:
    """Count nothing."""


@contextmanager
def unobserved(_path: str, _scope: Scope) -> Iterator[Callable[[int], None]]:
    """An observer that keeps nothing."""
    yield _ignore_status


class Guard:
    """An ASGI middleware before an application with Starlette's routes; ``open_paths`` need no token.

    ``who``: where a request says who asks, in the words of an ``Authorization`` header. ``refuse``: the answer to those
    who may not. ``observe``: told of every answer, by its endpoint.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        open_paths: frozenset[str],
        now_s: Clock,
        who: Callable[[Scope], str | None] = authorization,
        refuse: Callable[[AccessError, Scope], Refusal] = problem,
        observe: Observe = unobserved,
    ) -> None:
        self._app = app
        self._access = access
        self._open_paths = open_paths
        self._now_s = now_s
        self._who = who
        self._refuse = refuse
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its grant, or answer 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, needed = self._endpoint(scope)
        with self._observe(path, scope) as answered:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered(message["status"])
                await send(message)

            await self._let_in(needed, scope, receive, told)

    async def _let_in(self, needed: str, scope: Scope, receive: Receive, send: Send) -> None:
        if needed != OPEN:
            try:
                grant = self._access.allow(self._who(scope), needed, self._now_s())
            except AccessError as error:
                await _answer(self._refuse(error, scope), send)
                return
            scope.setdefault("state", {})[_GRANT] = grant
        await self._app(scope, receive, send)

    def _endpoint(self, scope: Scope) -> tuple[str, str]:
        """The template of the endpoint's path, and its scope."""
        nearly = (_NOWHERE, OPEN)  # what does not exist is answered 404 to everybody
        for route in scope["app"].router.routes:
            match, _ = route.matches(scope)
            if match.name == "NONE":
                continue
            found = (str(getattr(route, "path_format", route)), scope_of(route, self._open_paths))
            if match.name == "FULL":
                return found
            if nearly[0] == _NOWHERE:  # another method
                nearly = found
        return nearly


async def _answer(refusal: Refusal, send: Send) -> None:
    headers = {**refusal.headers, "content-length": str(len(refusal.body))}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": refusal.body})
