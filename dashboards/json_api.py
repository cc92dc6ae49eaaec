"""The same facts as JSON, and the page desk's webhook."""

import json
from typing import Any

import msgspec
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dashboards.page_desk import PageDesk
from dashboards.ports import PageStore, Reader
from dashboards.views import may_see, visible
from driftline import access
from driftline.errors import DriftlineError, TransientError
from driftline.guard import grant_of, needs
from driftline.names import PAGE_DESK_PATH
from driftline.results import StreamKey

_LARGEST_BODY = 4 * 1024 * 1024
_FAR_FUTURE_S = 253402300800.0


def add_api(app: FastAPI, reader: Reader, pages: PageStore, desk: PageDesk) -> None:
    """Add ``/api/v1/streams``, ``/api/v1/pages``, ``/api/v1/results`` and the webhook."""

    def streams(request: Request) -> Response:
        """Every stream at a glance."""
        grant = grant_of(request)
        return _json([each for each in reader.streams() if may_see(grant, each.stream)])

    def list_pages(request: Request, limit: int = 50) -> Response:
        """The newest pages first, at most 500."""
        return _json(visible(pages.pages(max(1, min(limit, 500))), grant_of(request)))

    def one_page(request: Request, page_id: str) -> Response:
        """One page with its evidence."""
        page = pages.page(page_id)
        if page is None or not may_see(grant_of(request), page.stream):
            raise HTTPException(404, f"there is no page '{page_id}'")
        return _json(page)

    def results(
        request: Request,
        namespace: str,
        model: str,
        version: str = "",
        variant: str = "stable",
        since_s: float = 0.0,
        until_s: float = _FAR_FUTURE_S,
    ) -> Response:
        """The newest revision of each result of one stream."""
        grant_of(request).require_model(f"{namespace}/{model}")
        return _json(reader.results(StreamKey(namespace, model, version, variant), since_s, until_s))

    read = needs(access.DATA_READ)
    for path, handler in (
        ("/api/v1/streams", streams),
        ("/api/v1/pages", list_pages),
        ("/api/v1/pages/{page_id}", one_page),
        ("/api/v1/results", results),
    ):
        app.add_api_route(path, handler, methods=["GET"], response_class=Response, openapi_extra=read)
    _add_webhook(app, desk)


def _add_webhook(app: FastAPI, desk: PageDesk) -> None:
    async def webhook(request: Request) -> Response:
        """Alertmanager's webhook: each alert becomes a page, once."""
        grant_of(request).require_unlimited("alerts come for any model")
        body = _parse(await request.body())
        try:
            received = await run_in_threadpool(desk.receive, body)
        except TransientError as error:
            raise HTTPException(503, str(error)) from error
        except DriftlineError as error:
            raise HTTPException(400, str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise HTTPException(400, f"the webhook cannot be read: {error!r}") from error
        return _json({"pages": [page.id for page in received]})

    written = needs(access.ALERTS_WRITE)
    app.add_api_route(PAGE_DESK_PATH, webhook, methods=["POST"], response_class=Response, openapi_extra=written)


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > _LARGEST_BODY:
        raise HTTPException(413, f"the webhook has {len(body)} bytes; at most {_LARGEST_BODY} are read")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the webhook is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise HTTPException(400, f"the webhook holds {type(found).__name__}, not an object with 'alerts'")
    return found


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
