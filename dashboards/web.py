"""The web pages: server-rendered, no build step, nothing loaded from elsewhere.

::

    /                                        every stream at a glance
    /models/{namespace}/{model}              one stream over time
    /models/{namespace}/{model}/windows/{start}   one window, column by column
    /pages, /pages/{id}                      what was paged, with its evidence
    /report/{namespace}/{model}              the drift report, one file
    /api/v1/...                              the same as JSON; the page desk's webhook
    /login, /logout                          where tokens are asked for
    /healthz, /metrics
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from dashboards import views
from dashboards.history import History, WindowView, group
from dashboards.json_api import add_api
from dashboards.page_desk import PageDesk
from dashboards.ports import Evidence, PageStore, ParseWebhook, Reader
from dashboards.rendering import STATIC, Renderer
from dashboards.report import build_report, render_html, render_json, render_markdown
from dashboards.settings import WebSettings
from dashboards.signing_in import SigningIn
from driftline import access
from driftline.access import Access, AccessError
from driftline.clock import Clock
from driftline.guard import grant_of, needs
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamSummary

_PAGES_SHOWN = 200
_SAMPLES_SHOWN = 20
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_PLAIN = WebSettings()
_ANYBODY = Access()


def create_app(
    reader: Reader,
    pages: PageStore,
    evidence: Evidence,
    parse_webhook: ParseWebhook,
    monitors: Mapping[str, Monitor],
    clock: Clock,
    settings: WebSettings = _PLAIN,
    asked: Access = _ANYBODY,
) -> FastAPI:
    """The pages over a reader and a page store. ``monitors`` by ``Monitor.name``; ages are told on ``clock``.

    ``asked``: who may do what; everybody everything without.
    """
    registry = CollectorRegistry()
    desk = PageDesk(pages, evidence, parse_webhook, monitors, clock, registry)
    renderer = Renderer(sign_out=asked.book is not None)
    site = _Site(reader, pages, monitors, clock, settings, renderer, desk)
    app = FastAPI(title="driftline pages", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for path, handler in site.routes().items():
        _add_page(app, path, handler, access.DATA_READ, response_class=HTMLResponse)
    add_api(app, reader, pages, desk)
    _add_page(app, "/healthz", site.healthz, access.OPERATIONS_READ)
    _add_page(app, "/metrics", _metrics_of(registry), access.OPERATIONS_READ)
    app.add_exception_handler(StarletteHTTPException, site.on_error)
    app.add_exception_handler(AccessError, site.on_error)
    SigningIn(asked, time.time, settings, renderer).add_to(app)
    app.middleware("http")(_with_security_headers)
    return app


def _add_page(app: FastAPI, path: str, handler: Callable[..., Any], scope: str, **more: Any) -> None:
    app.add_api_route(path, handler, methods=["GET"], include_in_schema=False, openapi_extra=needs(scope), **more)


async def _with_security_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await go_on(request)
    for name, value in _SECURITY.items():
        response.headers.setdefault(name, value)
    return response


def _metrics_of(registry: CollectorRegistry) -> Callable[[], Response]:
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return metrics


@dataclass(frozen=True, slots=True)
class _Site:
    """The handlers of the HTML pages."""

    reader: Reader
    pages: PageStore
    monitors: Mapping[str, Monitor]
    clock: Clock
    settings: WebSettings
    renderer: Renderer
    desk: PageDesk

    def routes(self) -> dict[str, Callable[..., Any]]:
        return {
            "/": self.overview,
            "/models/{namespace}/{model}": self.model,
            "/models/{namespace}/{model}/windows/{start}": self.window,
            "/pages": self.page_list,
            "/pages/{page_id}": self.page,
            "/report/{namespace}/{model}": self.report,
        }

    # --- pages ----------------------------------------------------------------------------------------------------
    def overview(self, request: Request) -> Response:
        now_s, grant = self.clock(), grant_of(request)
        found = views.visible(self.pages.pages(_PAGES_SHOWN), grant)
        cards = [
            card
            for card in views.cards(self.reader, found, self.monitors, now_s)
            if views.may_see(grant, card.summary.stream)
        ]
        seen = {f"{card.summary.stream.namespace}/{card.summary.stream.model}" for card in cards}
        waiting = [
            monitor for name, monitor in sorted(self.monitors.items()) if name not in seen and grant.allows_model(name)
        ]
        open_pages = views.open_pages(found)
        return self._html(request, "overview.html", cards=cards, waiting=waiting, open_pages=open_pages)

    def model(
        self,
        request: Request,
        namespace: str,
        model: str,
        version: str | None = None,
        variant: str | None = None,
        metric: str | None = None,
    ) -> Response:
        summary, siblings = self._stream(request, namespace, model, version, variant)
        monitor = self.monitors.get(f"{namespace}/{model}")
        history = views.read_history(self.reader, summary, monitor, self.settings.shown_windows)
        newest = history.newest
        found = [page for page in self.pages.pages(_PAGES_SHOWN) if views.concerns(page, summary.stream)]
        return self._html(
            request,
            "model.html",
            summary=summary,
            siblings=siblings,
            monitor=monitor,
            history=history,
            metric=metric,
            metrics=_metric_names(history),
            margin=views.margin_of(monitor),
            segments=views.segment_rows(history, views.segment_labels(self.reader, monitor, history, self.clock())),
            shapes={shape.column: shape for shape in self.reader.shapes(newest.key)} if newest else {},
            age_s=max(0.0, self.clock() - summary.last_event_s),
            model_pages=found,
            open_pages=views.open_pages(found),
        )

    def window(
        self,
        request: Request,
        namespace: str,
        model: str,
        start: str,
        version: str | None = None,
        variant: str | None = None,
        segment: str = ALL_ROWS,
    ) -> Response:
        summary, _ = self._stream(request, namespace, model, version, variant)
        monitor = self.monitors.get(f"{namespace}/{model}")
        history = views.read_history(self.reader, summary, monitor, self.settings.shown_windows)
        window = self._window(history, summary, start, segment)
        key = window.key
        cards = views.column_cards(window.columns, self.reader.shapes(key))
        samples = self.reader.samples(summary.stream, key.start_s, key.end_s, _SAMPLES_SHOWN)
        neighbours = _neighbours(history, window)
        return self._html(
            request,
            "window.html",
            summary=summary,
            window=window,
            cards=cards,
            samples=samples,
            segment=segment,
            segments=sorted(name for name in history.segments),
            neighbours=neighbours,
            margin=views.margin_of(monitor),
            labels=views.label_state_of(self.reader, monitor, key, self.clock()),
            revisions=views.revision_rows(self.reader.revisions(key)),
        )

    def page_list(self, request: Request) -> Response:
        found = views.visible(self.pages.pages(_PAGES_SHOWN), grant_of(request))
        return self._html(request, "pages.html", found=found)

    def page(self, request: Request, page_id: str) -> Response:
        page = self.pages.page(page_id)
        if page is None or not views.may_see(grant_of(request), page.stream):
            raise HTTPException(404, f"There is no page '{page_id}'. It may be older than the store keeps; see /pages.")
        stream = page.stream
        monitor = None if stream is None else self.monitors.get(f"{stream.namespace}/{stream.model}")
        view = views.page_view(self.reader, page, monitor, self.clock())
        return self._html(request, "page.html", view=view, monitor=monitor, margin=views.margin_of(monitor))

    def report(
        self,
        request: Request,
        namespace: str,
        model: str,
        version: str | None = None,
        variant: str | None = None,
        since: float | None = None,
        until: float | None = None,
        form: str = "html",
        download: bool = False,
    ) -> Response:
        summary, _ = self._stream(request, namespace, model, version, variant)
        monitor = self.monitors.get(f"{namespace}/{model}")
        if monitor is None:
            raise HTTPException(404, f"There is no monitor {namespace}/{model}, so there is nothing to report against.")
        since_s = summary.first_event_s if since is None else since
        until_s = summary.last_event_s if until is None else until
        data = build_report(self.reader, monitor, summary.stream, since_s, until_s, self.clock)
        if form == "json":
            return Response(render_json(data), media_type="application/json")
        if form == "markdown":
            return Response(render_markdown(data), media_type="text/markdown; charset=utf-8")
        name = f"driftline-{namespace}-{model}.html"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'} if download else {}
        return HTMLResponse(render_html(data), headers=headers)

    # --- health and errors ----------------------------------------------------------------------------------------
    def healthz(self) -> JSONResponse:
        streams = len(self.reader.streams())
        return JSONResponse({"status": "ok", "streams": streams, "last_heartbeat_s": self.desk.last_heartbeat_s})

    async def on_error(self, request: Request, error: Exception) -> Response:
        status, detail = 500, "Something went wrong."
        if isinstance(error, StarletteHTTPException):
            status, detail = error.status_code, str(error.detail)
        elif isinstance(error, AccessError):
            status, detail = error.status, error.detail
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": detail}, status_code=status)
        if status == 404 and detail == "Not Found":
            detail = f"There is nothing at {request.url.path}. Start at the overview."
        return self._html(request, "error.html", status=status, detail=detail, status_code=status)

    # --- helpers --------------------------------------------------------------------------------------------------
    def _html(self, request: Request, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        theme = request.query_params.get("theme", "")
        common = {
            "now_s": self.clock(),
            "theme": theme if theme in {"light", "dark"} else "",
            "settings": self.settings,
            "path": request.url.path,
            "views": views,
        }
        return HTMLResponse(self.renderer.page(template, {**common, **values}), status_code=status_code)

    def _stream(
        self, request: Request, namespace: str, model: str, version: str | None, variant: str | None
    ) -> tuple[StreamSummary, list[StreamSummary]]:
        grant_of(request).require_model(f"{namespace}/{model}")
        siblings = [
            summary
            for summary in self.reader.streams()
            if (summary.stream.namespace, summary.stream.model) == (namespace, model)
        ]
        chosen = [
            summary
            for summary in siblings
            if version in (None, summary.stream.version) and variant in (None, summary.stream.variant)
        ]
        if chosen:
            return max(chosen, key=lambda summary: summary.rows), siblings
        raise HTTPException(404, self._nothing_about(namespace, model, version, variant, siblings))

    def _nothing_about(
        self, namespace: str, model: str, version: str | None, variant: str | None, siblings: list[StreamSummary]
    ) -> str:
        if siblings:
            known = ", ".join(f"version '{s.stream.version}' variant '{s.stream.variant}'" for s in siblings)
            named = (("version", version), ("variant", variant))
            asked = " ".join(f"{what} '{name}'" for what, name in named if name is not None)
            return f"{namespace}/{model} has no {asked}. It has {known}."
        if f"{namespace}/{model}" in self.monitors:
            return f"{namespace}/{model} has a monitor, but no prediction of it is stored yet. Send traffic first."
        known = ", ".join(sorted(self.monitors)) or "none"
        return f"There is no model {namespace}/{model}. Monitored models: {known}."

    def _window(self, history: History, summary: StreamSummary, start: str, segment: str) -> WindowView:
        try:
            start_s = float(start)
        except ValueError:
            raise HTTPException(404, f"'{start}' is not the start of a window in seconds since 1970.") from None
        of_segment = history.windows if segment == ALL_ROWS else history.segments.get(segment, ())
        found = next((window for window in of_segment if int(window.key.start_s) == int(start_s)), None)
        if found is None:  # older than the windows shown
            monitor = self.monitors.get(f"{summary.stream.namespace}/{summary.stream.model}")
            older = group(self.reader.results(summary.stream, start_s, start_s + 1), monitor)
            of_segment = older.windows if segment == ALL_ROWS else older.segments.get(segment, ())
            found = next((window for window in of_segment if int(window.key.start_s) == int(start_s)), None)
        if found is None:
            where = f" for segment '{segment}'" if segment else ""
            raise HTTPException(404, f"No window that starts at {start} has been evaluated{where}.")
        return found


def _metric_names(history: History) -> list[str]:
    return sorted({measure.name for window in history.windows for measure in window.measures if measure.labelled > 0})


def _neighbours(history: History, window: WindowView) -> tuple[WindowView | None, WindowView | None]:
    segment = window.key.segment
    row = history.windows if segment == ALL_ROWS else history.segments.get(segment, ())
    starts = [other.key.start_s for other in row]
    if window.key.start_s not in starts:
        return None, None
    index = starts.index(window.key.start_s)
    return (row[index - 1] if index else None), (row[index + 1] if index + 1 < len(row) else None)
