"""A plain model server of the model ``line`` (y = 2 a + 3 b + 1), which speaks V1 and V2, JSON, binary and gzip."""

import gzip
import json
import struct
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_LENGTH = "Inference-Header-Content-Length"


def line(a: float, b: float) -> float:
    """What the model answers."""
    return 2 * a + 3 * b + 1


class PlainServer:
    """``port``: where it answers while the block lasts."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, b'{"live": true}', {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        is_packed = self.headers.get("content-encoding") == "gzip"
        if is_packed:
            body = gzip.decompress(body)
        if self.path == "/fail":
            self._answer(500, b'{"error": "no"}', {})
        elif self.headers.get(_LENGTH) is not None:
            head, tail = _binary_answer(body, int(self.headers[_LENGTH]))
            self._answer(200, head + tail, {_LENGTH: str(len(head))})
        else:
            answer = json.dumps(_v1(json.loads(body)) if ":predict" in self.path else _v2(json.loads(body))).encode()
            packed = {"content-encoding": "gzip"} if is_packed else {}
            self._answer(200, gzip.compress(answer) if is_packed else answer, packed)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


def _v1(document: Any) -> Any:
    return {"predictions": [line(*row) for row in document["instances"]]}


def _v2(document: Any) -> Any:
    a, b = (next(one["data"] for one in document["inputs"] if one["name"] == name) for name in "ab")
    answers = [line(*row) for row in zip(a, b, strict=True)]
    tensor = {"name": "y", "shape": [len(answers)], "datatype": "FP64", "data": answers}
    return {"model_name": "line", "outputs": [tensor]}


def _binary_answer(body: bytes, head_bytes: int) -> tuple[bytes, bytes]:
    rows = json.loads(body[:head_bytes])["inputs"][0]["shape"][0]
    values = struct.unpack(f"<{2 * rows}d", body[head_bytes:])
    answers = [line(*row) for row in zip(values[:rows], values[rows:], strict=True)]
    head = {"model_name": "line", "outputs": [_raw_tensor("y", answers)]}
    return json.dumps(head).encode(), struct.pack(f"<{rows}d", *answers)


def binary_request(rows: Sequence[tuple[float, float]]) -> tuple[bytes, dict[str, str]]:
    """A request of the V2 protocol with its tensors in binary, as Triton's clients write it, and its header."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    tensors = [_raw_tensor(name, column) for name, column in zip("ab", columns, strict=True)]
    head = json.dumps({"inputs": tensors}).encode()
    tail = b"".join(struct.pack(f"<{len(rows)}d", *column) for column in columns)
    return head + tail, {_LENGTH: str(len(head))}


def _raw_tensor(name: str, values: Sequence[float]) -> dict[str, Any]:
    size = {"binary_data_size": 8 * len(values)}
    return {"name": name, "shape": [len(values)], "datatype": "FP64", "parameters": size}
