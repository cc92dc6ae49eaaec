"""What a file of logged records holds: one CloudEvent per record, whoever wrote the file."""

import base64
import binascii
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlunsplit

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from collector.sources.cloud_event import CloudEvent, from_json
from collector.sources.http_modes import read_modelmesh
from driftline.errors import EventError

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_TYPES = "org.kubeflow.serving.inference."
_CHUNK_ROWS = 1000
#: KServe's names of what its CloudEvents call otherwise.
_ATTRIBUTES = {
    "id": "id",
    "inferenceService": "inferenceservicename",
    "namespace": "namespace",
    "component": "component",
    "endpoint": "endpoint",
    "occurrenceTime": "time",
}

_read_list = msgspec.json.Decoder(list[msgspec.Raw])
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: A record, or why it is none, with its bytes.
Item = CloudEvent | tuple[str, bytes]


def read_file(name: str, data: bytes, time_ns: int) -> Iterator[Item]:
    """The records of a file, in order; raises EventError where the whole of it cannot be read.

    The format is found in the content; only CSV needs its ending. ``time_ns``: for records that do not say when they
    happened, which KServe's CSV and Parquet never do.
    """
    if data[:2] == _GZIP:
        data, name = _unpacked(data), name.removesuffix(".gz")
    if data[:4] == _PARQUET:
        return _parquet(data, time_ns)
    if name.lower().endswith(".csv"):
        return _csv(data, time_ns)
    return (_json_item(document, time_ns, f"{name}/{place}") for place, document in enumerate(_documents(data)))


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise EventError("file", [f"is broken gzip: {error}"]) from error


# --- JSON ---------------------------------------------------------------------------------------------------------
def _documents(data: bytes) -> list[bytes]:
    """A list's elements, one document, or a document per line."""
    text = data.strip()
    if not text:
        return []
    try:
        if text[:1] == b"[":
            return [bytes(one) for one in _read_list.decode(text)]
        _read_object.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not _is_object(lines[0]):
            raise EventError("file", [f"is neither JSON, CSV nor Parquet: {error}"]) from error
        return lines
    return [text]


def _is_object(line: bytes) -> bool:
    try:
        _read_object.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _json_item(document: bytes, time_ns: int, place: str) -> Item:
    try:
        fields = _read_object.decode(document)
        if "reqType" in fields:
            return _kserve(msgspec.json.decode(document, type=dict[str, Any]), time_ns)
        if "modelid" in fields and "kind" in fields:
            return read_modelmesh(document, {}, time_ns, event_id=place)
        if "id" in fields:
            return from_json(document, time_ns)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"is not a JSON object: {error}", document
    except EventError as error:
        return str(error), document
    return f"is of no kind that is known here; its fields are: {', '.join(sorted(fields)[:10])}", document


# --- KServe's records ---------------------------------------------------------------------------------------------
def _kserve(record: Mapping[str, Any], time_ns: int) -> CloudEvent:
    attributes = {ours: str(record[name]) for name, ours in _ATTRIBUTES.items() if record.get(name)}
    kind = str(record["reqType"])
    attributes["type"] = kind if "." in kind else _TYPES + kind
    attributes["source"] = _source(record.get("sourceUri"))
    for name in ("metadata", "annotations"):
        value = record.get(name)
        if value:
            attributes[name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    try:
        body = base64.b64decode(record.get("bytes") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise EventError(f"record '{record.get('id')}'", [f"bytes is not base64: {error}"]) from error
    return CloudEvent(
        attributes=attributes, body=body, content_type=str(record.get("contentType") or "") or None, received_ns=time_ns
    )


def _source(uri: Any) -> str:
    """An address as text, or with the parts that Go gives it in JSON."""
    if isinstance(uri, str):
        return uri
    if not isinstance(uri, Mapping):
        return ""
    parts = [str(uri.get(name) or "") for name in ("Scheme", "Host", "Path", "RawQuery", "Fragment")]
    return str(urlunsplit(parts))


def _row(row: Mapping[str, Any], time_ns: int) -> Item:
    if not row.get("reqType"):
        return f"has no reqType; its columns are: {', '.join(sorted(map(str, row))[:20])}", _as_bytes(row)
    try:
        return _kserve(row, time_ns)
    except EventError as error:
        return str(error), _as_bytes(row)


def _as_bytes(row: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({str(name): str(value) for name, value in row.items()})


def _csv(data: bytes, time_ns: int) -> Iterator[Item]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise EventError("file", [f"is not UTF-8: {error}"]) from error
    # A body is one field, however long.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if twice := [name for name, times in Counter(rows.fieldnames or ()).items() if name and times > 1]:
        raise EventError("file", [f"its first line names '{twice[0][:60]}' several times"])
    return (_row(row, time_ns) for row in rows)


def _parquet(data: bytes, time_ns: int) -> Iterator[Item]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise EventError("file", [f"is broken Parquet: {error}"]) from error
    return _parquet_rows(file, time_ns)


def _parquet_rows(file: Any, time_ns: int) -> Iterator[Item]:
    try:
        for batch in file.iter_batches(_CHUNK_ROWS):
            for row in batch.to_pylist():
                yield _row(row, time_ns)
    except (pa.ArrowException, OSError) as error:
        yield f"the rest of the file is broken Parquet: {error}", b""
