"""The collector's HTTP API: labels in, dead letters out, health and metrics; described by OpenAPI at ``/docs``."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from collector.api_deadletters import add_dead_letter_routes
from collector.api_operations import HealthProbe, add_operations
from collector.desk import LabelDesk, LabelReceipt
from collector.guard import guard_app, needs
from collector.problems import add_problem_handlers, described
from collector.settings import CollectorSettings
from collector.store import Store
from collector.uploads import (
    ReadLabel,
    UploadError,
    labels_from_csv,
    labels_from_json,
    labels_from_ndjson,
    labels_from_parquet,
)
from driftline import __version__
from driftline.access import LABELS_WRITE, Access
from driftline.clock import Clock
from driftline.monitors import Monitor

_DESCRIPTION = (
    "Takes labels and events, shows and replays what could not be used, and says how the collector is. Every endpoint "
    "names the scope that a token needs for it."
)
_TAGS = [
    {"name": "labels", "description": "What turned out to be true."},
    {"name": "events", "description": "Inferences that other loggers send."},
    {"name": "dead letters", "description": "What could not be used, why, and how it may yet be."},
    {"name": "data", "description": "What is stored, and erasing it."},
    {"name": "operations", "description": "Health and metrics."},
]
_NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")


class LabelBody(BaseModel):
    """One label, as it is sent."""

    request_id: str = Field(description="The id that the prediction was answered with (X-Request-Id).", min_length=1)
    value: str | float | int | bool | None = Field(description="What turned out to be true; null withdraws a label.")
    observed_at_s: float = Field(description="When the truth was known, seconds since the epoch.", ge=0)
    model: str = Field(description="The model's name, as in its monitor.", min_length=1)
    namespace: str = Field("default", description="The model's namespace.")
    row: int = Field(0, description="Index of the row within the request.", ge=0)


class FaultAnswer(BaseModel):
    """A refused label."""

    index: int = Field(description="Place of the label in what was sent, from 0.")
    request_id: str | None = Field(description="Its request id, where it could be read.")
    faults: list[str] = Field(description="Every fault, with field and value.")


class ReceiptAnswer(BaseModel):
    """What became of the labels sent; every one counts in exactly one outcome."""

    received: int
    outcomes: dict[str, int] = Field(
        description="Counts of joined, pending, duplicate, corrected, withdrawn, invalid, unknown_model.",
        examples=[{"joined": 2, "pending": 1, "invalid": 1}],
    )
    faults: list[FaultAnswer]


_EXAMPLE = {"request_id": "0197-a1", "value": 1, "observed_at_s": 1387300000.0, "model": "flights"}
_WITHDRAWAL = {**_EXAMPLE, "row": 1, "value": None}
_LINE = '{"request_id": "0197-a1", "value": 1, "observed_at_s": 1387300000, "model": "flights"}\n'
_LABEL_SCHEMA = LabelBody.model_json_schema()
_JSON_BODY = {
    "schema": {"oneOf": [_LABEL_SCHEMA, {"type": "array", "items": _LABEL_SCHEMA}]},
    "examples": {
        "one": {"summary": "One label", "value": _EXAMPLE},
        "several": {"summary": "Several, one of them withdrawn", "value": [_EXAMPLE, _WITHDRAWAL]},
    },
}
_LINES_BODY = {"schema": {"type": "string"}, "example": _LINE}
_LABEL_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": _JSON_BODY, "application/x-ndjson": _LINES_BODY},
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": ReceiptAnswer, "description": "Every label was taken."},
    207: {"model": ReceiptAnswer, "description": "Some labels were refused; the others were taken."},
    400: described("Nothing could be read."),
    413: described("More bytes or labels than the collector takes at once."),
    422: {"model": ReceiptAnswer, "description": "Every label was refused."},
    503: described("The store is away; nothing was taken. Try again after Retry-After seconds."),
}


def create_app(
    desk: LabelDesk,
    store: Store,
    monitors: Mapping[str, Monitor],
    clock: Clock,
    registry: CollectorRegistry,
    health: HealthProbe,
    settings: CollectorSettings,
    access: Access | None = None,
) -> FastAPI:
    """The application; see the module's docstring. ``access``: who may do what; everybody everything without."""
    access = access or Access()
    app = FastAPI(title="driftline collector", version=__version__, openapi_tags=_TAGS)
    app.description = _DESCRIPTION
    if access.book is None:  # the description is open to everybody, and which models there are need not be
        app.description += f" Monitored models: {', '.join(sorted(monitors)) or 'none'}."
    add_problem_handlers(app)
    _add_label_routes(app, _Intake(desk, clock, settings))
    add_dead_letter_routes(app, store)
    add_operations(app, store, registry, health)
    guard_app(app, access, settings.open_paths, time.time)
    return app


class _Intake:
    """From a request's bytes to the receipt."""

    def __init__(self, desk: LabelDesk, clock: Clock, settings: CollectorSettings) -> None:
        self._desk = desk
        self._clock = clock
        self._settings = settings

    async def body(self, request: Request) -> bytes:
        """The body, refused as soon as it is too long."""
        received = bytearray()
        async for chunk in request.stream():
            received += chunk
            self.require_size(len(received))
        return bytes(received)

    def require_size(self, size_bytes: int) -> None:
        limit = self._settings.maximum_request_bytes
        if size_bytes > limit:
            raise HTTPException(413, f"the body has more than {limit} bytes; send it in parts")

    async def take(self, read: Callable[[], Sequence[ReadLabel]]) -> JSONResponse:
        """Read and store labels away from the event loop."""
        return await run_in_threadpool(self._take, read)

    def now_s(self) -> float:
        return self._clock()

    def _take(self, read: Callable[[], Sequence[ReadLabel]]) -> JSONResponse:
        try:
            parts = read()
        except UploadError as error:
            raise HTTPException(400, str(error)) from error
        if len(parts) > self._settings.maximum_labels_per_request:
            limit = self._settings.maximum_labels_per_request
            raise HTTPException(413, f"{len(parts)} labels are more than {limit}; send them in parts")
        labels = [part.label for part in parts if part.label is not None]
        receipt = self._desk.submit(labels, unreadable=len(parts) - len(labels))
        answer = _receipt(receipt, parts)
        refused = len(answer.faults)
        status = 200 if not refused else 422 if refused == len(parts) else 207
        return JSONResponse(answer.model_dump(), status)


def _add_label_routes(app: FastAPI, intake: _Intake) -> None:
    @app.post(
        "/v1/labels",
        summary="Send labels",
        tags=["labels"],
        responses=_ANSWERS,
        openapi_extra=needs(LABELS_WRITE, _LABEL_BODY),
    )
    async def post_labels(request: Request) -> Response:
        """One label, a list, or newline-delimited JSON; late, repeated and corrected labels are welcome."""
        body = await intake.body(request)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        read = labels_from_ndjson if content_type in _NDJSON_TYPES else labels_from_json
        return await intake.take(lambda: read(body))

    @app.post(
        "/v1/labels/upload",
        summary="Upload a file of labels",
        tags=["labels"],
        responses=_ANSWERS,
        openapi_extra=needs(LABELS_WRITE),
    )
    async def upload_labels(file: Annotated[UploadFile, File(description="CSV or Parquet.")]) -> Response:
        """Columns: request_id, value, model and, where wanted, observed_at_s, row, namespace."""
        intake.require_size(file.size or 0)
        body = await file.read()
        intake.require_size(len(body))
        is_parquet = body.startswith(b"PAR1")
        read = labels_from_parquet if is_parquet else labels_from_csv
        return await intake.take(lambda: read(body, intake.now_s()))


def _receipt(receipt: LabelReceipt, parts: Sequence[ReadLabel]) -> ReceiptAnswer:
    """The desk counted the readable labels only; their places in what was sent are found again here."""
    places = [place for place, part in enumerate(parts) if part.label is not None]
    faults = [
        FaultAnswer(index=place, request_id=None, faults=[part.fault or ""])
        for place, part in enumerate(parts)
        if part.label is None
    ]
    faults += [
        FaultAnswer(index=places[fault.index], request_id=fault.request_id, faults=list(fault.faults))
        for fault in receipt.faults
    ]
    faults.sort(key=lambda fault: fault.index)
    return ReceiptAnswer(received=receipt.received, outcomes=receipt.outcomes, faults=faults)
