"""Events and a monitor for the decoder's tests."""

import json
from typing import Any

from driftline.events import InferenceEvent, Payload
from driftline.monitors import Monitor

COLUMNS = (("age", "numeric"), ("income", "numeric"), ("city", "categorical"))


def monitor(
    task: str = "binary", score: str | None = "probability", columns: Any = COLUMNS, prediction: Any = None
) -> Monitor:
    return Monitor.model_validate(
        {
            "model": "credit",
            "task": task,
            "columns": [{"name": name, "type": kind} for name, kind in columns],
            "prediction": prediction or {"column": "default", "score": score},
        }
    )


def event(request: Any, response: Any, **changes: Any) -> InferenceEvent:
    """An event; bodies are given as objects (made JSON), bytes or whole payloads."""
    fields: dict[str, Any] = {
        "id": "e1",
        "source": "/ns/app/pod",
        "model": "credit",
        "time_ns": 0,
        "request_id": "r1",
        "protocol": "v2",
        "status_code": 200,
        "request": payload(request),
        "response": payload(response),
    }
    return InferenceEvent(**{**fields, **changes})


def payload(content: Any) -> Payload:
    if isinstance(content, Payload):
        return content
    return Payload(body=content if isinstance(content, bytes) else json.dumps(content).encode())


def tensor(name: str, data: list[Any], datatype: str = "FP64", shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


V2_REQUEST = {
    "id": "r1",
    "inputs": [
        tensor("age", [31, None]),
        tensor("income", [1000.5, 2e5], shape=[2, 1]),
        tensor("city", ["Paris", "Rome"], "BYTES"),
    ],
}
V2_RESPONSE = {
    "model_name": "credit",
    "outputs": [tensor("default", [0, 1], "INT64"), tensor("probability", [0.25, 0.75])],
}
