"""How a browser shows who it is: a token in a cookie, put there by a form or once by ``?token=``.

The cookie holds the token itself, so that a token that is revoked ends what was begun with it, and no session is kept.
Scripts cannot read it, other sites cannot send it along, and it only counts for reading: what changes something needs
the ``Authorization`` header, which no page of others can make a browser send. A token in an address is taken out of it
at once by a redirect, before any page is shown whose links could carry it on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from dashboards.rendering import Renderer
from dashboards.settings import WebSettings
from driftline import access
from driftline.access import Access, AccessError
from driftline.clock import Clock
from driftline.guard import Guard, Refusal, Scope, authorization, header, needs, problem_of

COOKIE = "driftline_token"
LOGIN, LOGOUT, IN_ADDRESS = "/login", "/logout", "token"
_LARGEST_FORM = 8192
_READING = frozenset({"GET", "HEAD"})
_SEE_OTHER = 303
_UNSEEN = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class SigningIn:
    """The pages around the cookie; ``now_s`` is the wall clock, by which tokens expire."""

    access: Access
    now_s: Clock
    settings: WebSettings
    renderer: Renderer

    def add_to(self, app: FastAPI) -> None:
        """Put the form and the gate before what ``app`` has."""
        opened = needs(access.OPEN)
        for path, handler, method in (
            (LOGIN, self.form, "GET"),
            (LOGIN, self.sign_in, "POST"),
            (LOGOUT, self.sign_out, "POST"),
        ):
            app.add_api_route(path, handler, methods=[method], include_in_schema=False, openapi_extra=opened)
        paths = frozenset({"/static", str(app.openapi_url), *self.settings.open_paths})
        app.add_middleware(
            Guard, access=self.access, open_paths=paths, now_s=self.now_s, who=who_asks, refuse=refuse_pages
        )
        app.middleware("http")(self._clear_address)

    def form(self, next: str = "/") -> Response:  # noqa: A002 - the name in the address
        """The page that asks for a token."""
        return self._form(next, "", 200)

    async def sign_in(self, request: Request) -> Response:
        """Take the token of the form into a cookie."""
        body = await request.body()
        fields = parse_qs(body[:_LARGEST_FORM].decode("utf-8", "replace"))
        token, wanted = fields.get("token", [""])[0].strip(), fields.get("next", ["/"])[0]
        fault = self._fault(token)
        if fault:
            return self._form(wanted, fault, 401)
        return self._enter(token, wanted)

    def sign_out(self) -> Response:
        """Take the cookie away."""
        answer = RedirectResponse(LOGIN, _SEE_OTHER, _UNSEEN)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=self._secure)
        return answer

    @property
    def _secure(self) -> bool:
        return self.settings.external_url.startswith("https://")

    async def _clear_address(self, request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        query = request.query_params
        if request.method not in _READING or IN_ADDRESS not in query:
            return await go_on(request)
        token = query[IN_ADDRESS].strip()
        rest = urlencode([(name, value) for name, value in query.multi_items() if name != IN_ADDRESS])
        wanted = quote(request.url.path) + (f"?{rest}" if rest else "")
        if self.access.book is None:
            return RedirectResponse(local(wanted), _SEE_OTHER, _UNSEEN)
        if self._fault(token):
            return RedirectResponse(login_address(wanted), _SEE_OTHER, _UNSEEN)
        return self._enter(token, wanted)

    def _fault(self, token: str) -> str:
        try:
            # A token that is no ASCII was never one of ours, and no header could carry it.
            self.access.grant(f"Bearer {token}" if token.isascii() else None, self.now_s())
        except AccessError as error:
            return error.detail
        return ""

    def _enter(self, token: str, wanted: str) -> Response:
        answer = RedirectResponse(local(wanted), _SEE_OTHER, _UNSEEN)
        if self.access.book is not None:
            answer.set_cookie(COOKIE, token, path="/", httponly=True, samesite="lax", secure=self._secure)
        return answer

    def _form(self, wanted: str, fault: str, status: int) -> Response:
        values = {"next": local(wanted), "fault": fault}
        return Response(self.renderer.page("login.html", values), status, _UNSEEN, "text/html; charset=utf-8")


def who_asks(scope: Scope) -> str | None:
    """The ``Authorization`` header; for reading, a cookie does as well."""
    said = authorization(scope)
    if said or scope["method"] not in _READING:
        return said
    try:
        kept = SimpleCookie(header(scope, b"cookie") or "").get(COOKIE)
    except CookieError:
        return None
    return None if kept is None else f"Bearer {kept.value}"


def refuse_pages(error: AccessError, scope: Scope) -> Refusal:
    """People are asked for a token, programs are told what lacks."""
    if error.status != 401 or scope["method"] not in _READING or "text/html" not in (header(scope, b"accept") or ""):
        return problem_of(error)
    query = scope["query_string"].decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{query}" if query else "")
    return Refusal(_SEE_OTHER, {"location": login_address(wanted), "cache-control": "no-store"}, b"")


def login_address(wanted: str) -> str:
    """The form, that leads on to what was wanted."""
    return f"{LOGIN}?{urlencode({'next': wanted})}"


def local(wanted: str) -> str:
    r"""The path of this server to go on to after signing in; the overview where ``wanted`` is no such path.

    >>> local("/pages?limit=5"), local("//evil.example"), local("https://evil.example"), local("/\\evil.example")
    ('/pages?limit=5', '/', '/', '/')
    """
    safe = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if safe else "/"
