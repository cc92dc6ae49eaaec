"""What the header blocks of streams mean: of a request, of its answer, and of the trailers that end it.

Names of gRPC are those of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from driftline import names
from logger_sidecar.http1.head_grammar import keep_header, text_of
from logger_sidecar.http1.routes import Route, RouteTable
from logger_sidecar.http2.header_blocks import Fields
from logger_sidecar.traces import valid_traceparent

PROTOCOL_V2 = "v2-grpc"
PROTOCOL_OTHER = "grpc"
_SERVICE = b"/inference.GRPCInferenceService/"
_ID_RANKS = {name.encode(): rank for rank, name in enumerate(names.REQUEST_ID_HEADERS)}
#: The header of a call that says its id.
ID_NAME = names.HEADER_REQUEST_ID.encode()
_AUTHORITY = b":authority"
_TRACEPARENT = names.HEADER_TRACEPARENT.encode()
_VARIANT = names.HEADER_VARIANT.encode()
_ID_LIMIT_BYTES = 512
_EVENT_STREAM = "text/event-stream"
_BINARY_LENGTH = names.HEADER_BINARY_LENGTH
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_NO_HEADERS: dict[str, str] = {}


class Method(NamedTuple):
    """A method whose calls are inferences. ``streams``: its answer may have any number of messages."""

    protocol: str
    streams: bool

    @property
    def is_v2(self) -> bool:
        """Whether its messages are those of the Open Inference Protocol."""
        return self.protocol == PROTOCOL_V2


MODEL_INFER = Method(PROTOCOL_V2, streams=False)
MODEL_STREAM_INFER = Method(PROTOCOL_V2, streams=True)


class Methods:
    """Which calls are inferences, by their path.

    ``others``: further methods, as ``package.Service/Method``.
    """

    def __init__(self, others: Iterable[str] = ()) -> None:
        self._known = {f"/{name}".encode(): Method(PROTOCOL_OTHER, streams=True) for name in others}
        self._known[_SERVICE + b"ModelInfer"] = MODEL_INFER
        self._known[_SERVICE + b"ModelStreamInfer"] = MODEL_STREAM_INFER

    def of(self, path: bytes) -> Method | None:
        """The method; None where its calls are passed on unseen."""
        return self._known.get(path)


class CallHead:
    """What a header block says, of either half of a call. What it says never changes, so it may be kept."""

    __slots__ = (
        "content_encoding",
        "content_type",
        "encoding",
        "event_part",
        "expects_continue",
        "grpc_message",
        "grpc_status",
        "headers",
        "is_grpc",
        "is_probe",
        "list_bytes",
        "method",
        "names_request_id",
        "path",
        "request_id",
        "route",
        "status",
        "timeout_s",
        "traceparent",
        "variant",
        "verb",
    )

    def __init__(self) -> None:
        #: Of a request; empty in an answer, and in trailers of either half.
        self.path = b""
        self.verb = b""
        #: None where the call is no inference over gRPC.
        self.method: Method | None = None
        #: None where it is no inference over plain HTTP.
        self.route: Route | None = None
        self.is_grpc = False
        self.is_probe = False
        #: Whether the body waits for the server's word.
        self.expects_continue = False
        #: HTTP status of an answer, 0 in a request and in trailers.
        self.status = 0
        #: As ``http1.heads.Head.request_id``.
        self.request_id = ""
        #: Whether ``request_id`` is what x-request-id says.
        self.names_request_id = False
        self.traceparent: str | None = None
        self.timeout_s = 0.0
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        #: What capture makes of it; its own affair.
        self.event_part = b""
        #: What gRPC compresses its messages with.
        self.encoding = ""
        self.variant = ""
        self.grpc_status: int | None = None
        self.grpc_message = ""
        self.headers = _NO_HEADERS
        #: Size as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113, section 6.5.2).
        self.list_bytes = 0

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is server-sent events."""
        return self.content_type is not None and self.content_type[: len(_EVENT_STREAM)].lower() == _EVENT_STREAM


class HeadMeaning:
    """Makes heads of header fields.

    ``captured``: headers that events carry, in any case. ``routes``: which requests over plain HTTP are inferences.
    """

    def __init__(self, methods: Methods, captured: Collection[str], routes: RouteTable) -> None:
        self._methods = methods
        self._routes = routes
        self._captured = {name.lower().encode(): name.lower() for name in (*captured, _BINARY_LENGTH)}
        if b"host" in self._captured:
            self._captured[_AUTHORITY] = "host"  # what HTTP/2 calls it

    def __call__(self, fields: Fields) -> CallHead:
        """What these fields say."""
        head = CallHead()
        rank = len(_ID_RANKS)
        size = 0
        for name, value in fields:
            size += len(name) + len(value) + 32
            given = _ID_RANKS.get(name)
            if given is not None:
                if given < rank and 0 < len(value) <= _ID_LIMIT_BYTES:
                    rank, head.request_id = given, value.decode("latin-1").replace("\0", "")
            elif name in _TAKERS:
                _TAKERS[name](head, value)
            kept = self._captured.get(name)
            if kept is not None:
                if head.headers is _NO_HEADERS:
                    head.headers = {}
                keep_header(head.headers, kept, _text(value))
        head.names_request_id = rank == 0
        head.list_bytes = size
        if head.path:
            head.method = self._methods.of(head.path)
            if head.method is None and head.verb == b"POST":
                head.route = self._route(head)
        return head

    def _route(self, head: CallHead) -> Route | None:
        if head.is_probe or head.is_grpc:
            return None
        route = self._routes.lookup(head.path)
        if route is not None and route.protocol == "v2" and _BINARY_LENGTH in head.headers:
            return route._replace(protocol="v2-binary")
        return route


def timeout_s(value: bytes) -> float:
    """The deadline in a ``grpc-timeout``, in seconds; 0 where it is none.

    >>> timeout_s(b"100m"), timeout_s(b"2S"), timeout_s(b"soon")
    (0.1, 2.0, 0.0)
    """
    found = _TIMEOUT.fullmatch(value)
    return int(found[1]) * _UNIT_S[found[2]] if found else 0.0


def _text(value: bytes) -> str:
    return text_of(value).replace("\0", "")


def _take_path(head: CallHead, value: bytes) -> None:
    head.path = value


def _take_verb(head: CallHead, value: bytes) -> None:
    head.verb = value


def _take_agent(head: CallHead, value: bytes) -> None:
    head.is_probe = value.startswith(b"kube-probe")


def _take_content_encoding(head: CallHead, value: bytes) -> None:
    head.content_encoding = _text(value)


def _take_expect(head: CallHead, value: bytes) -> None:
    head.expects_continue = value.lower() == b"100-continue"


def _take_status(head: CallHead, value: bytes) -> None:
    head.status = int(value) if value.isdigit() and len(value) == 3 else 0


def _take_type(head: CallHead, value: bytes) -> None:
    head.content_type = _text(value)
    head.is_grpc = value.startswith(b"application/grpc")


def _take_encoding(head: CallHead, value: bytes) -> None:
    head.encoding = _text(value)


def _take_timeout(head: CallHead, value: bytes) -> None:
    head.timeout_s = timeout_s(value)


def _take_trace(head: CallHead, value: bytes) -> None:
    head.traceparent = valid_traceparent(value) if head.traceparent is None else None  # of two, neither counts


def _take_variant(head: CallHead, value: bytes) -> None:
    head.variant = _text(value)


def _take_grpc_status(head: CallHead, value: bytes) -> None:
    head.grpc_status = int(value) if value.isdigit() and len(value) <= 3 else 2


def _take_grpc_message(head: CallHead, value: bytes) -> None:
    head.grpc_message = _text(value[:1024])


_TAKERS = {
    b":path": _take_path,
    b":method": _take_verb,
    b"user-agent": _take_agent,
    b"content-encoding": _take_content_encoding,
    b"expect": _take_expect,
    b":status": _take_status,
    b"content-type": _take_type,
    b"grpc-encoding": _take_encoding,
    b"grpc-timeout": _take_timeout,
    _TRACEPARENT: _take_trace,
    _VARIANT: _take_variant,
    b"grpc-status": _take_grpc_status,
    b"grpc-message": _take_grpc_message,
}
