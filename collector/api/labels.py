"""Labels over HTTP: one, many, or a stream of lines of any length."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from collector.api.answers import (
    LABELS_ANSWERS,
    LABELS_BODY,
    line_fault_answer,
    progress_line,
    receipt_answer,
)
from collector.api.problems import RETRY_AFTER_S
from collector.labels.desk import LabelDesk, LabelReceipt
from collector.labels.from_json import UploadError, labels_from_json
from collector.labels.from_lines import LineFault, LineProgress, Submit, take_lines
from collector.settings import CollectorSettings
from driftline.access import LABELS_WRITE
from driftline.errors import TransientError
from driftline.events import Label
from driftline.guard import PROBLEM_TYPE, grant_of, needs

_NDJSON = "application/x-ndjson"
_NDJSON_TYPES = (_NDJSON, "application/ndjson", "application/jsonl")
_FAULTS_ANSWERED = 1000


def add_label_routes(app: FastAPI, desk: LabelDesk, settings: CollectorSettings) -> None:
    """``POST /v1/labels``."""

    @app.post(
        "/v1/labels",
        summary="Send labels",
        tags=["labels"],
        responses=LABELS_ANSWERS,
        openapi_extra=needs(LABELS_WRITE, LABELS_BODY),
    )
    async def post_labels(request: Request) -> Response:
        """One label, a list, or newline-delimited JSON; late, repeated and corrected labels are welcome.

        Lines are taken in batches as they come, in bounded memory, however many they are. A client that accepts
        application/x-ndjson is told how far its stream is while it sends it.
        """
        _refuse_encoded(request)
        limit = settings.maximum_labels_per_request
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in _NDJSON_TYPES:
            body = await bounded_body(request, settings.maximum_request_bytes)
            return await run_in_threadpool(_take_json, body, submit_for(request, desk), limit)
        stream = take_lines(request.stream(), submit_for(request, desk))
        if _NDJSON in request.headers.get("accept", ""):
            return _ProgressResponse(stream)
        return await _take_stream(stream)


def submit_for(request: Request, desk: LabelDesk) -> Submit:
    """The desk for whoever asks: labels of models that its token is not for are refused."""
    allowed = grant_of(request).allows_model

    def submit(labels: Sequence[Label], unreadable: int = 0) -> LabelReceipt:
        return desk.submit(labels, unreadable, allowed=allowed)

    return submit


def _refuse_encoded(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise HTTPException(415, f"labels with Content-Encoding {encoding[:60]} are not read; send what is in it")


async def bounded_body(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it is too long."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise HTTPException(413, f"the body has more than {limit} bytes; send it in parts, in lines or as a file")
    return bytes(received)


# --- JSON -----------------------------------------------------------------------------------------------------------
def _take_json(body: bytes, submit: Submit, limit: int) -> JSONResponse:
    try:
        parts = labels_from_json(body)
    except UploadError as error:
        raise HTTPException(400, str(error)) from error
    if len(parts) > limit:
        raise HTTPException(
            413, f"{len(parts)} labels are more than {limit}; send them in parts, in lines or as a file"
        )
    labels = [part.label for part in parts if part.label is not None]
    answer = receipt_answer(submit(labels, len(parts) - len(labels)), parts)
    return JSONResponse(answer.model_dump(exclude_none=True), _status(answer.received, len(answer.faults)))


def _status(received: int, refused: int) -> int:
    return 200 if not refused else 422 if refused == received else 207


# --- lines ----------------------------------------------------------------------------------------------------------
async def _take_stream(stream: AsyncIterator[LineProgress]) -> JSONResponse:
    progress = LineProgress()
    faults: list[LineFault] = []
    try:
        async for progress in stream:
            faults.extend(progress.faults[: _FAULTS_ANSWERED - len(faults)])
    except TransientError as error:
        told = {"title": "Service Unavailable", "status": 503, "detail": str(error)}
        told |= {"taken_lines": progress.line, "outcomes": dict(progress.outcomes)}
        return JSONResponse(told, 503, {"Retry-After": RETRY_AFTER_S}, media_type=PROBLEM_TYPE)
    answer: dict[str, Any] = {
        "received": progress.received,
        "refused": progress.refused,
        "outcomes": dict(progress.outcomes),
        "faults": [line_fault_answer(fault).model_dump(exclude_none=True) for fault in faults],
    }
    return JSONResponse(answer, _status(progress.received, progress.refused))


class _ProgressResponse(Response):
    """Answers while the request is still being read, which the framework's streamed answer would not let it be."""

    def __init__(self, stream: AsyncIterator[LineProgress]) -> None:
        super().__init__(media_type=_NDJSON)
        self._stream = stream
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a line per batch."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        progress = LineProgress()
        error = None
        try:
            async for progress in self._stream:
                line = progress_line(progress, done=False)
                await send({"type": "http.response.body", "body": line, "more_body": True})
        except ClientDisconnect:
            return
        except TransientError as away:
            error = str(away)
        progress.faults = ()
        await send({"type": "http.response.body", "body": progress_line(progress, done=True, error=error)})
