"""What the label API takes and answers, as OpenAPI describes it."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from collector.api.problems import described
from collector.labels.desk import LabelReceipt
from collector.labels.from_json import ReadLabel
from collector.labels.from_lines import LineFault, LineProgress
from collector.store.uploads import Upload
from driftline.events import Label


class LabelBody(BaseModel):
    """One label, as it is sent. Give ``request_id`` or ``key``."""

    request_id: str = Field("", description="The id that the prediction was answered with (X-Request-Id).")
    key: str = Field("", description="In place of request_id: the business key that the monitor names (labels.key).")
    value: str | float | int | bool | None = Field(description="What turned out to be true; null withdraws a label.")
    observed_at_s: float | None = Field(
        None, description="When the truth was known, seconds since the epoch; without it, when the label arrives.", ge=0
    )
    model: str = Field(description="The model's name, as in its monitor.", min_length=1)
    namespace: str = Field("default", description="The model's namespace.")
    row: int = Field(0, description="Index of the row within the request.", ge=0)
    reward: bool = Field(False, description="The value is a reward; the monitor says what it means (labels.reward).")


class FaultAnswer(BaseModel):
    """A refused label."""

    index: int = Field(description="Place of the label in what was sent, from 0.")
    line: int | None = Field(None, description="Line of newline-delimited JSON, from 1.")
    request_id: str | None = Field(None, description="Its request id, where it was given one and could be read.")
    key: str | None = Field(None, description="Its business key, likewise.")
    faults: list[str] = Field(description="Every fault, with field and value.")


class ReceiptAnswer(BaseModel):
    """What became of the labels sent; every one counts in exactly one outcome."""

    received: int
    refused: int = Field(description="How many of them were refused.")
    outcomes: dict[str, int] = Field(
        description="Counts of joined, pending, duplicate, corrected, withdrawn, invalid, unknown_model, forbidden, "
        "ambiguous, waiting_full.",
        examples=[{"joined": 2, "pending": 1, "invalid": 1}],
    )
    faults: list[FaultAnswer] = Field(description="The refused labels; of a stream of lines the first thousand.")


class ProgressLine(BaseModel):
    """One line of the answer to a stream of lines that accepts application/x-ndjson."""

    line: int = Field(description="Everything up to this line is stored.")
    received: int
    outcomes: dict[str, int]
    faults: list[FaultAnswer] = Field(description="Lines refused since the line of the answer before.")
    done: bool = Field(description="Nothing more comes.")
    error: str | None = Field(None, description="Why the stream ended early; send again what comes after 'line'.")


class UploadFault(BaseModel):
    """A refused row of a file."""

    line: int = Field(description="Line of a CSV file, from 1 with the header; row of a Parquet file, from 1.")
    column: str
    value: str
    fault: str


class UploadAnswer(BaseModel):
    """An uploaded file, and how far it is joined."""

    id: str
    state: str = Field(description="waiting, working, done, failed or cancelled.")
    name: str
    size_bytes: int
    bytes_read: int
    rows_read: int
    rows_total: int | None = Field(description="Where the file says it (Parquet).")
    joined: int = Field(description="Rows that reached a prediction, corrections and withdrawals included.")
    pending: int = Field(description="Rows whose prediction has not come yet.")
    refused: int
    outcomes: dict[str, int]
    faults: list[UploadFault] = Field(description="The first hundred refused rows.")
    received_at_s: float
    finished_at_s: float | None
    error: str | None = Field(description="Why the file could not be read to its end.")


_REFUSED = ("invalid", "forbidden", "unknown_model", "ambiguous", "waiting_full")
_REACHED = ("joined", "corrected", "withdrawn", "duplicate")


def receipt_answer(receipt: LabelReceipt, parts: list[ReadLabel]) -> ReceiptAnswer:
    """The desk counted the readable labels only; their places in what was sent are found again here."""
    places = [place for place, part in enumerate(parts) if part.label is not None]
    faults = [
        FaultAnswer(index=place, faults=[part.fault or ""]) for place, part in enumerate(parts) if part.label is None
    ]
    faults += [_fault_answer(places[fault.index], fault.label, fault.faults) for fault in receipt.faults]
    faults.sort(key=lambda fault: fault.index)
    return ReceiptAnswer(received=receipt.received, refused=len(faults), outcomes=receipt.outcomes, faults=faults)


def line_fault_answer(fault: LineFault) -> FaultAnswer:
    """A refused line."""
    return _fault_answer(fault.index, fault.label, fault.faults, fault.line)


def _fault_answer(index: int, label: Label | None, faults: Sequence[str], line: int | None = None) -> FaultAnswer:
    named = {"request_id": label.request_id or None, "key": label.key or None} if label is not None else {}
    return FaultAnswer(index=index, line=line, faults=list(faults), **named)


def progress_line(progress: LineProgress, *, done: bool, error: str | None = None) -> bytes:
    """A line of the answer."""
    line = ProgressLine(
        line=progress.line,
        received=progress.received,
        outcomes=dict(progress.outcomes),
        faults=[line_fault_answer(fault) for fault in progress.faults],
        done=done,
        error=error,
    )
    return line.model_dump_json(exclude_none=True).encode() + b"\n"


def upload_answer(upload: Upload) -> UploadAnswer:
    """How far an upload is."""
    working = upload.state == "waiting" and upload.rows_read > 0
    return UploadAnswer(
        id=upload.id,
        state="working" if working else upload.state,
        name=upload.name,
        size_bytes=upload.size_bytes,
        bytes_read=upload.bytes_read,
        rows_read=upload.rows_read,
        rows_total=upload.rows_total,
        joined=sum(upload.outcomes.get(name, 0) for name in _REACHED),
        pending=upload.outcomes.get("pending", 0),
        refused=sum(upload.outcomes.get(name, 0) for name in _REFUSED),
        outcomes=upload.outcomes,
        faults=[
            UploadFault(line=fault.line, column=fault.column, value=fault.value, fault=fault.fault)
            for fault in upload.faults
        ],
        received_at_s=upload.received_at_s,
        finished_at_s=upload.finished_at_s,
        error=upload.error,
    )


_EXAMPLE = {"request_id": "0197-a1", "value": 1, "observed_at_s": 1387300000.0, "model": "flights"}
_WITHDRAWAL = {**_EXAMPLE, "row": 1, "value": None}
_BY_KEY = {"key": "order-4711", "value": "late", "observed_at_s": 1387300000.0, "model": "flights"}
_LINE = '{"request_id": "0197-a1", "value": 1, "observed_at_s": 1387300000, "model": "flights"}\n'
_LABEL_SCHEMA = LabelBody.model_json_schema()
# FaultAnswer is described for ReceiptAnswer already.
_PROGRESS_SCHEMA = ProgressLine.model_json_schema(ref_template="#/components/schemas/{model}")
del _PROGRESS_SCHEMA["$defs"]
LABELS_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_LABEL_SCHEMA, {"type": "array", "items": _LABEL_SCHEMA}]},
                "examples": {
                    "one": {"summary": "One label", "value": _EXAMPLE},
                    "several": {"summary": "Several, one of them withdrawn", "value": [_EXAMPLE, _WITHDRAWAL]},
                    "by key": {"summary": "By the monitor's business key", "value": _BY_KEY},
                },
            },
            "application/x-ndjson": {"schema": {"type": "string"}, "example": _LINE},
        },
    }
}
_CSV = "request_id,value,model\n0197-a1,1,flights\n"
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "CSV or Parquet."}},
                }
            },
            "text/csv": {"schema": {"type": "string"}, "example": _CSV},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
LABELS_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ReceiptAnswer,
        "description": "Every label was taken. A stream of lines that accepts application/x-ndjson is answered with "
        "lines while it is read (schema ProgressLine), whatever becomes of its labels.",
        "content": {"application/x-ndjson": {"schema": _PROGRESS_SCHEMA}},
    },
    207: {"model": ReceiptAnswer, "description": "Some labels were refused; the others were taken."},
    400: described("Nothing could be read."),
    413: described("More bytes or labels than the collector takes at once; lines have no such bound."),
    415: described("The labels are compressed; send what is in them."),
    422: {"model": ReceiptAnswer, "description": "Every label was refused."},
    503: described(
        "The store is away. Try again after Retry-After seconds; of a stream of lines everything up to taken_lines is "
        "stored, and sending it again changes nothing."
    ),
}
_SELDON_MESSAGE = {"application/json": {"schema": {"type": "object"}}}
FEEDBACK_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Taken; meta.tags.outcomes says what became of each row.", "content": _SELDON_MESSAGE},
    400: {"description": "Refused; status.info says why.", "content": _SELDON_MESSAGE},
    413: described("More bytes than the collector takes at once."),
    503: described("The store is away. Try again after Retry-After seconds."),
}
FEEDBACK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "reward": {"oneOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
                        "truth": {"type": "object"},
                        "request": {"type": "object"},
                        "response": {"type": "object"},
                    },
                },
                "examples": {
                    "truth": {"summary": "Truth of two rows", "value": {"truth": {"data": {"ndarray": [[1], [0]]}}}},
                    "reward": {"summary": "A reward of 0", "value": {"reward": 0}},
                    "rewards": {"summary": "One reward per row", "value": {"reward": [1, 0, 1]}},
                },
            }
        },
    }
}
