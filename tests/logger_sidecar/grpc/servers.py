"""Real gRPC servers for the tests, made of handlers that take and give bytes, and hand-made V2 messages."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.parts.protobuf import field, varint

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
READY = "/inference.GRPCInferenceService/ServerReady"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_KINDS = {
    "unary": (grpc.unary_unary_rpc_method_handler, "unary_unary"),
    "answers": (grpc.unary_stream_rpc_method_handler, "unary_stream"),
    "questions": (grpc.stream_unary_rpc_method_handler, "stream_unary"),
    "both": (grpc.stream_stream_rpc_method_handler, "stream_stream"),
}
Handler = Callable[..., object]


def infer_request(model: str = "iris", version: str = "3", request_id: str = "", rest: bytes = b"") -> bytes:
    """A ModelInferRequest with one small tensor."""
    tensor = field(1, "x") + field(2, "FP32") + varint(3 << 3 | 2) + b"\x01\x04"
    head = field(1, model) + (field(2, version) if version else b"") + (field(3, request_id) if request_id else b"")
    return head + field(5, tensor) + field(7, b"\0" * 16) + rest


def framed(*messages: bytes) -> bytes:
    """Messages with their prefixes."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


class Served:
    """A gRPC server. ``seen``: the metadata of each call, in order."""

    def __init__(
        self,
        handlers: dict[str, tuple[str, Handler]],
        options: Sequence[tuple[str, object]],
        address: str,
        secure: Any = None,
    ) -> None:
        self.seen: list[dict[str, str | bytes]] = []
        self._pool = ThreadPoolExecutor(128)
        self.server = grpc.server(self._pool, options=[*UNLIMITED, *options], compression=None)
        self.server.add_generic_rpc_handlers((_Generic(self, handlers),))
        if secure is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, secure)
        self.server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.server.stop(0).wait(5)
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Generic(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, served: Served, handlers: dict[str, tuple[str, Handler]]) -> None:
        self._served = served
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> object:
        self._served.seen.append({item.key: item.value for item in details.invocation_metadata})
        if details.method not in self._handlers:
            return None
        kind, handler = self._handlers[details.method]
        return _KINDS[kind][0](handler)


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00\xff\x80")))
    context.set_trailing_metadata((("last", "2"), ("last-bin", b"\x01\xfe")))
    return request


def echo_each(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from requests


def answers(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    for number in range(5):
        yield request + bytes([number])


def questions(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    return b"|".join(requests)


def failing(request: bytes, context: grpc.ServicerContext) -> bytes:
    raise context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such tensor: é")


def slow(request: bytes, context: grpc.ServicerContext) -> bytes:
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait(60)
    return request


HANDLERS: dict[str, tuple[str, Handler]] = {
    INFER: ("unary", echo),
    STREAM_INFER: ("both", echo_each),
    READY: ("unary", echo),
    "/test.Any/Unary": ("unary", echo),
    "/test.Any/Answers": ("answers", answers),
    "/test.Any/Questions": ("questions", questions),
    "/test.Any/Both": ("both", echo_each),
}


@contextlib.contextmanager
def served(
    options: Sequence[tuple[str, object]] = (), address: str = "127.0.0.1:0", secure: Any = None, **changed: Handler
) -> Iterator[Served]:
    """A server with the usual handlers. ``changed``: another handler for ``infer`` or ``stream_infer``."""
    handlers = dict(HANDLERS)
    if "infer" in changed:
        handlers[INFER] = ("unary", changed["infer"])
    if "stream_infer" in changed:
        handlers[STREAM_INFER] = ("both", changed["stream_infer"])
    server = Served(handlers, options, address, secure)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def channel(port: int, *options: tuple[str, object]) -> Iterator[grpc.Channel]:
    """A channel with a connection of its own."""
    options = (*UNLIMITED, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), *options)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as made:
        yield made


def call(channel: grpc.Channel, method: str, request: object, **more: object) -> Any:
    """One call of any kind, with bytes."""
    kind = _KINDS[HANDLERS[method][0]][1]
    more.setdefault("timeout", 60)
    return getattr(channel, kind)(method)(request, **more)
