"""Events as a Parquet file. The only module of the sidecar that knows pyarrow; loaded where Parquet is configured.

One row per inference, columns as in :data:`SCHEMA`: every attribute of the event under its own name, both halves with
their type, encoding, headers and body. ``time`` is the arrival of the request in UTC; bodies are binary, as they were
on the wire. Columns are only ever added.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.events import InferenceEvent, Payload

_HALF = (
    ("content_type", pa.string()),
    ("content_encoding", pa.string()),
    ("headers", pa.map_(pa.string(), pa.string())),
    ("body", pa.binary()),
)
_ATTRIBUTES = (
    ("id", pa.string()),
    ("source", pa.string()),
    ("namespace", pa.string()),
    ("model", pa.string()),
    ("model_version", pa.string()),
    ("variant", pa.string()),
    ("protocol", pa.string()),
    ("request_id", pa.string()),
    ("status_code", pa.int32()),
    ("grpc_status", pa.int32()),
    ("duration_ms", pa.float64()),
    ("ttfb_ms", pa.float64()),
    ("sample_rate", pa.float64()),
    ("truncated", pa.bool_()),
    ("traceparent", pa.string()),
    ("chunk_count", pa.int64()),
    ("ttft_ms", pa.float64()),
    ("stream_error", pa.string()),
    ("not_observable", pa.string()),
    ("redacted", pa.bool_()),
    ("answer_unknown", pa.bool_()),
    ("metadata", pa.map_(pa.string(), pa.string())),
)
_READERS: dict[str, Callable[[Payload], Any]] = {
    "content_type": lambda half: half.content_type,
    "content_encoding": lambda half: half.content_encoding,
    "headers": lambda half: list(half.headers.items()),
    "body": lambda half: half.body,
}
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", tz="UTC")),
        *_ATTRIBUTES,
        *((f"request_{name}", kind) for name, kind in _HALF),
        *((f"response_{name}", kind) for name, kind in _HALF),
    ]
)


def encode(events: Sequence[InferenceEvent], compression: str) -> bytes:
    """The events as one Parquet file."""
    columns: dict[str, list[Any]] = {"time": [event.time_ns for event in events]}
    columns |= {name: [getattr(event, name) for event in events] for name, _ in _ATTRIBUTES}
    columns["metadata"] = [list(event.metadata.items()) for event in events]
    for half, payloads in (
        ("request", [one.request for one in events]),
        ("response", [one.response for one in events]),
    ):
        columns |= {f"{half}_{name}": [read(payload) for payload in payloads] for name, read in _READERS.items()}
    sink = pa.BufferOutputStream()
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    pq.write_table(table, sink, compression=compression)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded
