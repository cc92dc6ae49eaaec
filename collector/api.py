"""The collector's HTTP API: labels in, dead letters out, health and metrics; described by OpenAPI at ``/docs``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from collector.desk import LabelDesk, LabelReceipt
from collector.health import HealthReport
from collector.settings import CollectorSettings
from collector.store import Store
from collector.transaction import DeadLetter
from collector.uploads import (
    ReadLabel,
    UploadError,
    labels_from_csv,
    labels_from_json,
    labels_from_ndjson,
    labels_from_parquet,
)
from driftline import __version__
from driftline.clock import Clock
from driftline.errors import TransientError
from driftline.monitors import Monitor

_NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_RETRY_AFTER_S = "5"
_RAW_SHOWN = 64 * 1024


class HealthProbe(Protocol):
    """Says how the consumer is."""

    def report(self) -> HealthReport:
        """How it is now."""
        ...


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


class DeadLetterAnswer(BaseModel):
    """A record that could not be used."""

    partition: str
    offset: int
    event_id: str | None
    namespace: str
    model: str
    reason: str
    detail: str
    time_s: float
    raw: str | None = Field(None, description="The record as text, at most 64 KiB; only when asked for alone.")


class HealthAnswer(BaseModel):
    """How the consumer is: working, stuck or stopped."""

    state: str
    detail: str
    waiting_records: int
    idle_s: float


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
    400: {"description": "Nothing could be read."},
    413: {"description": "More bytes or labels than the collector takes at once."},
    422: {"model": ReceiptAnswer, "description": "Every label was refused."},
    503: {"description": "The store is away; nothing was taken. Try again after Retry-After seconds."},
}


def create_app(
    desk: LabelDesk,
    store: Store,
    monitors: Mapping[str, Monitor],
    clock: Clock,
    registry: CollectorRegistry,
    health: HealthProbe,
    settings: CollectorSettings,
) -> FastAPI:
    """The application; see the module's docstring."""
    known = ", ".join(sorted(monitors)) or "none"
    app = FastAPI(title="driftline collector", version=__version__, description=f"Monitored models: {known}.")
    app.add_exception_handler(TransientError, _unavailable)
    _add_label_routes(app, _Intake(desk, clock, settings))
    _add_dead_letter_routes(app, store)
    _add_operations(app, store, registry, health)
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
    @app.post("/v1/labels", summary="Send labels", tags=["labels"], responses=_ANSWERS, openapi_extra=_LABEL_BODY)
    async def post_labels(request: Request) -> Response:
        """One label, a list, or newline-delimited JSON; late, repeated and corrected labels are welcome."""
        body = await intake.body(request)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        read = labels_from_ndjson if content_type in _NDJSON_TYPES else labels_from_json
        return await intake.take(lambda: read(body))

    @app.post("/v1/labels/upload", summary="Upload a file of labels", tags=["labels"], responses=_ANSWERS)
    async def upload_labels(file: Annotated[UploadFile, File(description="CSV or Parquet.")]) -> Response:
        """Columns: request_id, value, model and, where wanted, observed_at_s, row, namespace."""
        intake.require_size(file.size or 0)
        body = await file.read()
        intake.require_size(len(body))
        is_parquet = body.startswith(b"PAR1")
        read = labels_from_parquet if is_parquet else labels_from_csv
        return await intake.take(lambda: read(body, intake.now_s()))


def _add_dead_letter_routes(app: FastAPI, store: Store) -> None:
    @app.get("/v1/deadletters", summary="Newest dead letters", tags=["dead letters"])
    def dead_letters(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, model: str | None = None, reason: str | None = None
    ) -> list[DeadLetterAnswer]:
        """What could not be used, and why; newest first."""
        return [_dead_letter(letter) for letter in store.dead_letters(limit, model=model, reason=reason)]

    @app.get(
        "/v1/deadletters/{partition:path}/{offset}",
        summary="One dead letter with its bytes",
        tags=["dead letters"],
        responses={404: {"description": "There is none at this place."}},
    )
    def dead_letter(partition: str, offset: int) -> DeadLetterAnswer:
        """One record by its place in the stream, as text."""
        letter = store.dead_letter(partition, offset)
        if letter is None:
            raise HTTPException(404, f"no dead letter at offset {offset} of '{partition}'")
        answer = _dead_letter(letter)
        answer.raw = letter.raw[:_RAW_SHOWN].decode("utf-8", "backslashreplace")
        return answer


def _add_operations(app: FastAPI, store: Store, registry: CollectorRegistry, health: HealthProbe) -> None:
    @app.get(
        "/healthz",
        summary="Does the consumer work?",
        tags=["operations"],
        response_model=HealthAnswer,
        responses={503: {"model": HealthAnswer, "description": "Stuck or stopped."}},
    )
    def healthz() -> Response:
        """200 while batches move on or nothing is there to read; 503 when stuck or stopped."""
        report = health.report()
        answer = HealthAnswer(
            state=report.state, detail=report.detail, waiting_records=report.waiting_records, idle_s=report.idle_s
        )
        return JSONResponse(answer.model_dump(), 200 if report.state == "working" else 503)

    @app.get(
        "/readyz",
        summary="Can labels be taken?",
        tags=["operations"],
        responses={503: {"description": "The store does not answer."}},
    )
    def readyz() -> Response:
        """200 when the store answers."""
        ready = store.ready()
        return JSONResponse({"ready": ready, "store": "answers" if ready else "does not answer"}, 200 if ready else 503)

    @app.get("/metrics", summary="Metrics for Prometheus", tags=["operations"], response_class=Response)
    def metrics() -> Response:
        """Text format of Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": _RETRY_AFTER_S})


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


def _dead_letter(letter: DeadLetter) -> DeadLetterAnswer:
    return DeadLetterAnswer(
        partition=letter.partition,
        offset=letter.offset,
        event_id=letter.event_id,
        namespace=letter.namespace,
        model=letter.model,
        reason=letter.reason,
        detail=letter.detail,
        time_s=letter.time_s,
    )
