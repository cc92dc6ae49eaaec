"""The request that all clients make, in V2 JSON. Imports nothing: programs of every environment share it."""

from typing import Any

ROWS = {"a": [[0.0], [1.0], [2.0]], "b": [[5.0], [6.0], [7.5]]}
PATH = "/v2/models/line/infer"
#: What Triton, as pytriton starts it, asks for where its shared memory is concerned.
TRITON_TOKEN = "not-a-secret"


def v2_body(request_id: str) -> dict[str, Any]:
    """Three rows."""
    inputs = [
        {"name": name, "shape": [3, 1], "datatype": "FP64", "data": [value for row in rows for value in row]}
        for name, rows in ROWS.items()
    ]
    return {"id": request_id, "inputs": inputs}
