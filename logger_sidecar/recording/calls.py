"""One call over HTTP/2 as capture gets it."""

from typing import Protocol

import msgspec

from logger_sidecar.http1.routes import Route


class Described(Protocol):
    """What a head says of the body behind it, over either version of HTTP.

    ``event_part``: what capture makes of it, kept for the next event whose head this is; its own affair.
    """

    content_type: str | None
    content_encoding: str | None
    headers: dict[str, str]
    traceparent: str | None
    event_part: bytes


class Call(msgspec.Struct, kw_only=True):
    """One call over HTTP/2, complete. Times are monotonic seconds, ``time_ns`` is the deployment's clock.

    ``request_head``, ``response_head``: what was said of the bodies; None: there was no answer. ``request_notes``,
    ``response_notes``: what readers need to know besides, as further headers. ``request_body``, ``response_body``: as
    they were on the wire (messages with their length prefixes), as far as there was room. ``request_bytes``,
    ``response_bytes``: all that passed. ``code``: the status code that the metrics count; the event says
    ``status_code`` and the gRPC status. ``first_message_s``: when the first message of a streamed answer was there; 0.0
    where there was none. ``arrivals``: as in ``Captured``.
    """

    route: Route
    event_id: str
    request_id: str
    time_ns: int
    started_s: float
    first_byte_s: float
    request_head: Described
    request_body: bytes
    request_bytes: int
    response_head: Described | None
    response_body: bytes
    response_bytes: int
    code: int
    status_code: int = 200
    grpc_status: int | None = None
    truncated: bool = False
    variant: str = ""
    request_notes: dict[str, str] = {}
    response_notes: dict[str, str] = {}
    chunk_count: int = 0
    first_message_s: float = 0.0
    stream_error: str = ""
    not_observable: str = ""
    arrivals: list[tuple[int, float]] = []


class EndedCall(Protocol):
    """A call over HTTP/2 that has ended and is described later."""

    def described(self) -> Call | None:
        """What is recorded of it; None where nothing can be, which has been counted then."""
