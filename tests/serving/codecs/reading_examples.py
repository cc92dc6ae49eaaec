"""Monitors and events that the tests of codecs share."""

import json
import math
from typing import Any

from driftline.columns import ColumnBatch
from driftline.events import Payload
from driftline.monitors import Monitor
from tests.parts.decoding import decode
from tests.serving.payload_examples import event


def monitor_of(columns: list[dict[str, Any]], prediction: dict[str, Any] | None = None, **fields: Any) -> Monitor:
    return Monitor.model_validate(
        {"model": "credit", "task": "multiclass", "columns": columns, "prediction": prediction or {}, **fields}
    )


TABLE = monitor_of(
    [
        {"name": "age", "type": "numeric"},
        {"name": "income", "type": "numeric"},
        {"name": "city", "type": "categorical"},
    ],
    {"column": "default", "score": "probability", "positive": "1"},
    task="binary",
)
#: What every way to write the same two rows must give.
ROWS: dict[str, list[Any]] = {"age": [31.0, None], "income": [1000.5, 2e5], "city": ["Paris", "Rome"]}


def listed(batch: ColumnBatch) -> dict[str, list[Any]]:
    """The columns as plain lists, NaN as None."""
    numbers = {
        name: [None if math.isnan(value) else value for value in values.tolist()]
        for name, values in batch.numeric.items()
    }
    return {**numbers, **{name: values.tolist() for name, values in batch.text.items()}}


def columns(request: Any, response: Any = None, monitor: Monitor = TABLE, **changes: Any) -> dict[str, list[Any]]:
    """The columns of one event; bodies as objects (JSON), bytes or payloads; no response: nobody logged it."""
    if response is None:
        return listed(decode(event(request, b"", answer_unknown=True, status_code=0, **changes), monitor))
    return listed(decode(event(request, response, **changes), monitor))


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def payload(content: bytes, **fields: Any) -> Payload:
    return Payload(body=content, **fields)
