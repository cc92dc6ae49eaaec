"""Business keys: what labels may name a prediction by, found where the monitor says.

A key is text; whole numbers are spelt without a fraction, as class names are. A row without a key simply has none:
labels for it need its request id.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from collector.store.database import key_text
from collector.store.keys import KeyedPrediction
from collector.store.spelling import class_name
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent, Payload
from driftline.monitor_labels import KeySpec
from driftline.monitors import Monitor
from driftline.payload_paths import EVERY, Step, parse_document_path

_LONGEST_BODY = 64 * 1024 * 1024


def row_keys(spec: KeySpec, event: InferenceEvent, columns: ColumnBatch, rows: Sequence[int]) -> list[str | None]:
    """The key of each row that ``columns`` hold of the event; None where there is none.

    ``rows``: their places within the request. Where some rows were erased, they are not all of it.
    """
    if spec.column is not None:
        return _column_keys(spec.column, columns)
    if spec.header is not None:
        return [_header_key(spec.header, event.request)] * columns.rows
    half, steps = parse_document_path(spec.path or "$")
    found = _at(_document(event.response if half == "response" else event.request), steps)
    if EVERY not in steps:
        return [_spelt(found)] * columns.rows
    keys = [_spelt(each) for each in found] if isinstance(found, list) else []
    return [keys[row] if row < len(keys) else None for row in rows]


def keyed_predictions(
    spec: KeySpec, event: InferenceEvent, columns: ColumnBatch, rows: Sequence[int]
) -> list[KeyedPrediction]:
    """Those of the rows that have a key; ``rows`` as for :func:`row_keys`."""
    request_id = key_text(event.request_id)
    return [
        KeyedPrediction(event.namespace, event.model, key, request_id, row, event.time_s)
        for row, key in zip(rows, row_keys(spec, event, columns, rows), strict=True)
        if key is not None
    ]


def _column_keys(column: str, columns: ColumnBatch) -> list[str | None]:
    if column in columns.text:
        return [_spelt(value) for value in columns.text[column].tolist()]
    if column in columns.numeric:
        return [_spelt(value) for value in columns.numeric[column].tolist()]
    return [None] * columns.rows


def _header_key(header: str, request: Payload) -> str | None:
    wanted = header.lower()
    return next((_spelt(value) for name, value in request.headers.items() if name.lower() == wanted), None)


def _document(payload: Payload) -> Any:
    body = payload.body
    if payload.content_encoding in ("gzip", "deflate"):
        try:
            body = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, _LONGEST_BODY)
        except zlib.error:
            return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _at(document: Any, steps: Sequence[Step]) -> Any:
    """What the steps lead to; behind ``[*]`` a list with what the rest leads to in each element."""
    for number, step in enumerate(steps):
        if step == EVERY:
            rest = steps[number + 1 :]
            return [_at(each, rest) for each in document] if isinstance(document, list) else None
        if isinstance(step, str):
            document = document.get(step) if isinstance(document, dict) else None
        elif isinstance(document, list) and -len(document) <= step < len(document):
            document = document[step]
        else:
            return None
    return document


def _spelt(value: Any) -> str | None:
    """A key as text; containers, truth values and empty texts are no keys."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value) if isinstance(value, int) else class_name(value)
    return key_text(text) if text else None


def key_is_subject(monitor: Monitor) -> bool:
    """Whether the business key of the model is the person that its rows are about."""
    key, subject = monitor.labels.key, monitor.subject
    if key is None or subject is None:
        return False
    same_header = key.header is not None and key.header.lower() == (subject.header or "").lower()
    return same_header or (key.column is not None and key.column == subject.column)


def given_key(value: str) -> str:
    """A key as a label gives it, spelt as predictions' keys are."""
    return _spelt(value) or ""
