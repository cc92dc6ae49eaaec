"""Labels as people send them: JSON, newline-delimited JSON, CSV and Parquet, with every fault by field and value."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.errors import PermanentError
from driftline.events import Label

_FIELDS = ("request_id", "value", "observed_at_s", "model", "namespace", "row")
_TRUTH = {"true": True, "false": False}


class UploadError(PermanentError):
    """The whole upload cannot be read."""


@dataclass(frozen=True, slots=True)
class ReadLabel:
    """One label of a request: either the label, or why it cannot be one."""

    label: Label | None
    fault: str | None = None


def labels_from_json(body: bytes) -> list[ReadLabel]:
    """One object or a list of them; raises UploadError when it is neither."""
    try:
        parts = _json_parts(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UploadError(f"the body is not JSON: {error}") from error
    return [_from_json(part) for part in parts]


def labels_from_ndjson(body: bytes) -> list[ReadLabel]:
    """One JSON object a line; empty lines are passed over."""
    return [_from_json(line) for line in body.splitlines() if line.strip()]


def labels_from_csv(body: bytes, now_s: float) -> list[ReadLabel]:
    """A header line with ``request_id``, ``value``, ``model`` and, where wanted, the other fields of a label.

    An empty value withdraws a label; without ``observed_at_s`` a label counts as observed now.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UploadError(f"the file is not CSV in UTF-8: {error}") from error
    _require_columns(rows[0].keys() if rows else _FIELDS)
    return [_from_row({name: value for name, value in row.items() if value != ""}, now_s) for row in rows]


def labels_from_parquet(body: bytes, now_s: float) -> list[ReadLabel]:
    """A file with the columns that a CSV needs, of any fitting types."""
    try:
        table = pq.read_table(pa.BufferReader(body))
    except (pa.ArrowException, OSError) as error:
        raise UploadError(f"the file is not Parquet: {error}") from error
    _require_columns(table.column_names)
    return [
        _from_row({name: value for name, value in row.items() if value is not None}, now_s) for row in table.to_pylist()
    ]


def _json_parts(body: bytes) -> Sequence[bytes]:
    if body.lstrip()[:1] == b"[":
        return [bytes(part) for part in msgspec.json.decode(body, type=list[msgspec.Raw])]
    return [bytes(msgspec.json.decode(body, type=msgspec.Raw))]


def _from_json(part: bytes) -> ReadLabel:
    try:
        return ReadLabel(msgspec.json.decode(part, type=Label))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return ReadLabel(None, str(error))


def _require_columns(columns: Iterable[str]) -> None:
    missing = [name for name in ("request_id", "value", "model") if name not in set(columns)]
    if missing:
        raise UploadError(f"the file lacks the columns {', '.join(missing)}; it needs request_id, value and model")


def _from_row(row: Mapping[str, Any], now_s: float) -> ReadLabel:
    value = row.get("value")
    if isinstance(value, str):
        value = _TRUTH.get(value.lower(), value)
    fields = {"observed_at_s": now_s, **{name: row[name] for name in _FIELDS if name in row}, "value": value}
    for name in ("request_id", "model", "namespace"):
        if name in fields:
            fields[name] = str(fields[name])
    try:
        return ReadLabel(msgspec.convert(fields, Label, strict=False))
    except msgspec.MsgspecError as error:
        return ReadLabel(None, str(error))
