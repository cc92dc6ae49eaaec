"""What following any inference over HTTP/2 takes: its id, told to both sides, its times, and room for its bodies."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from driftline import names
from driftline.clock import Clock
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.frames import DATA, HEAD_BYTES, PADDED, WINDOW_UPDATE, literal, unpack_head
from logger_sidecar.http2.stream_heads import CallHead, HeadMeaning
from logger_sidecar.http2.v2_messages import Beginnings
from logger_sidecar.recording.calls import Call
from logger_sidecar.recording.capture import Capture
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters

#: Why an inference that was seen is not captured: what follows on its connection cannot be understood, or more calls
#: are in flight on it than are followed.
REASON_UNOBSERVED = "connection_unobserved"
REASON_TOO_MANY_CALLS = "too_many_calls"
REASON_INTERNAL = "internal_error"
#: So much of a body that comes along with its header block is looked at for an id.
LOOK_AHEAD_BYTES = 1029

_log = logging.getLogger("driftline.sidecar")
_ID_NAME = names.HEADER_REQUEST_ID.encode()
_ID_LENGTH = 36
#: A field with an id of our own making, but for the id.
_OWN_ID = literal(_ID_NAME, b"x" * _ID_LENGTH)[:-_ID_LENGTH]
_FIELD_OVERHEAD = 32  # RFC 9113, section 6.5.2
NO_TRAILERS = CallHead()


@dataclass(slots=True)
class CallParts:
    """What all calls share.

    ``room``: for all bodies in flight together. ``max_calls``: how many calls of one connection are followed at a
    time.
    """

    capture: Capture
    meters: Meters
    clock: Clock
    event_ids: EventIds
    meaning: HeadMeaning
    room: CaptureRoom
    default_model: str
    default_version: str
    max_body_bytes: int
    max_head_bytes: int
    max_calls: int
    now_s: Callable[[], float] = time.monotonic
    beginnings: Beginnings = field(default_factory=Beginnings)


class FollowedCall:
    """One inference between its client and the model server; subclasses know what its bodies are."""

    __slots__ = ("_answer", "_event_id", "_first_byte_s", "_head", "_parts", "_request_id", "_started_s", "_time_ns")

    def __init__(self, parts: CallParts, head: CallHead) -> None:
        self._parts = parts
        self._head = head
        self._started_s = parts.now_s()
        self._time_ns = time_ns = int(parts.clock() * 1e9)
        self._event_id = parts.event_ids.new(time_ns)
        self._request_id = head.request_id
        self._first_byte_s = 0.0
        self._answer: CallHead | None = None

    # --- while it passes ------------------------------------------------------------------------------------------
    def announced(self, data: bytes, behind: int, stream: int, max_list_bytes: int) -> bytes:
        """The encoded field that tells the server the call's id, where nothing else does.

        ``data[behind:]``: what came along with the header block. ``max_list_bytes``: what the server takes.
        """
        if self._request_id or self._finds_id(data, behind, stream):
            return b""
        return _id_field(self._event_id, self._head, max_list_bytes)

    def take_answer(self, head: CallHead, max_list_bytes: int) -> bytes:
        """The answer's first header block came; returns the encoded field that tells the caller the call's id.

        What the server itself says in x-request-id stays, and is the call's id from now on, because it is what the
        caller sees. ``max_list_bytes``: what the caller takes.
        """
        if 100 <= head.status < 200:
            return b""
        self._answer = head
        self._first_byte_s = self._parts.now_s()
        if head.names_request_id:
            self._request_id = head.request_id
            return b""
        return _id_field(self._request_id or self._settled_id(), head, max_list_bytes)

    @property
    def is_answered(self) -> bool:
        """Whether the answer's first header block has come."""
        return self._answer is not None

    def take_request(self, data: bytes, start: int, end: int) -> None:
        """``data[start:end]`` is a piece of the request's body."""
        raise NotImplementedError

    def end_request(self) -> None:
        """The request is complete."""

    def take_response(self, data: bytes, start: int, end: int) -> None:
        """``data[start:end]`` is a piece of the answer's body."""
        raise NotImplementedError

    # --- its end --------------------------------------------------------------------------------------------------
    def complete(self, trailers: CallHead | None) -> None:
        """The answer is complete. ``trailers``: what came with its end; None where nothing did."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The client ended it, or is gone."""
        raise NotImplementedError

    def reset(self, error: int) -> None:
        """The server ended it at once, with this HTTP/2 error code."""
        raise NotImplementedError

    def lose_server(self) -> None:
        """The server is gone."""
        raise NotImplementedError

    def drop(self, reason: str) -> None:
        """Nobody will know how it ends: count it as received and not captured."""
        self._parts.capture.lose_call(self._route(), self._parts.now_s() - self._started_s, reason)
        self._release()

    def forget(self) -> None:
        """It was never looked at, and is asked again elsewhere."""
        self._release()

    # --- what subclasses know -------------------------------------------------------------------------------------
    def _route(self) -> Route:
        """Which model it is about."""
        raise NotImplementedError

    def _finds_id(self, data: bytes, behind: int, stream: int) -> bool:
        """Look for an id in the body that came along with the header block."""
        raise NotImplementedError

    def _settled_id(self) -> str:
        """The call's id, now that the body was seen as far as it will be."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go what was kept of the bodies."""
        raise NotImplementedError

    def _call(self, code: int, status: int) -> Call:
        """Its record. ``code``: as the metrics count it, ``status``: as subclasses say it."""
        raise NotImplementedError

    def _record(self, code: int, status: int) -> None:
        """It has ended so: hand it over."""
        try:
            call = self._call(code, status)
        except Exception:  # noqa: BLE001 - whatever is wrong with one event must not reach the connection
            _log.error("a call could not be captured", exc_info=True)
            self.drop(REASON_INTERNAL)
            return
        self._release()
        self._parts.capture.record_call(call, self._parts.now_s())


def body_behind(data: bytes, position: int, stream: int) -> bytes:
    """The beginning of the body that came in the same piece as its header block, if it did."""
    while len(data) - position >= HEAD_BYTES:
        high, low, kind, flags, its_stream = unpack_head(data, position)
        position += HEAD_BYTES
        if kind == DATA and its_stream == stream and not flags & PADDED:
            return data[position : position + min(high << 8 | low, LOOK_AHEAD_BYTES)]
        if kind != WINDOW_UPDATE:  # which clients put between
            break
        position += high << 8 | low
    return b""


def _id_field(request_id: str, head: CallHead, max_list_bytes: int) -> bytes:
    """x-request-id as a field of a header block; nothing where the block would grow past what its reader takes."""
    value = request_id.encode("latin-1")
    size = len(value)
    if max_list_bytes and head.list_bytes + len(_ID_NAME) + size + _FIELD_OVERHEAD > max_list_bytes:
        return b""
    return _OWN_ID + value if size == _ID_LENGTH else literal(_ID_NAME, value)
