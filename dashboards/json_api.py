"""The same facts as JSON, and the page desk's webhook."""

import json
from typing import Any

import msgspec
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dashboards.page_desk import PageDesk
from dashboards.ports import PageStore, Reader
from driftline.errors import DriftlineError, TransientError
from driftline.names import PAGE_DESK_PATH
from driftline.results import StreamKey

_LARGEST_BODY = 4 * 1024 * 1024
_FAR_FUTURE_S = 253402300800.0


def add_api(app: FastAPI, reader: Reader, pages: PageStore, desk: PageDesk) -> None:
    """Add ``/api/v1/streams``, ``/api/v1/pages``, ``/api/v1/results`` and the webhook."""

    def streams() -> Response:
        """Every stream at a glance."""
        return _json(reader.streams())

    def list_pages(limit: int = 50) -> Response:
        """The newest pages first, at most 500."""
        return _json(pages.pages(max(1, min(limit, 500))))

    def one_page(page_id: str) -> Response:
        """One page with its evidence."""
        page = pages.page(page_id)
        if page is None:
            raise HTTPException(404, f"there is no page '{page_id}'")
        return _json(page)

    def results(
        namespace: str,
        model: str,
        version: str = "",
        variant: str = "stable",
        since_s: float = 0.0,
        until_s: float = _FAR_FUTURE_S,
    ) -> Response:
        """The newest revision of each result of one stream."""
        return _json(reader.results(StreamKey(namespace, model, version, variant), since_s, until_s))

    async def webhook(request: Request) -> Response:
        """Alertmanager's webhook: each alert becomes a page, once."""
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

    app.add_api_route("/api/v1/streams", streams, methods=["GET"], response_class=Response)
    app.add_api_route("/api/v1/pages", list_pages, methods=["GET"], response_class=Response)
    app.add_api_route("/api/v1/pages/{page_id}", one_page, methods=["GET"], response_class=Response)
    app.add_api_route("/api/v1/results", results, methods=["GET"], response_class=Response)
    app.add_api_route(PAGE_DESK_PATH, webhook, methods=["POST"], response_class=Response)


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
