"""What following any inference over HTTP/2 takes: its id, told to both sides, its times, and room for its bodies."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from driftline.clock import Clock
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.frames import DATA, HEAD_BYTES, PADDED, WINDOW_UPDATE, literal, unpack_head
from logger_sidecar.http2.stream_heads import ID_NAME, CallHead, HeadMeaning
from logger_sidecar.http2.v2_messages import Beginnings
from logger_sidecar.recording.calls import Call, EndedCall
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters

#: Why an inference that was seen is not captured: what follows on its connection cannot be understood, or more calls
#: are in flight on it than are followed.
REASON_UNOBSERVED = "connection_unobserved"
REASON_TOO_MANY_CALLS = "too_many_calls"
REASON_INTERNAL = "internal_error"

_log = logging.getLogger("driftline.sidecar")
_ID_LENGTH = 36
#: A field with an id of our own making, but for the id.
_OWN_ID = literal(ID_NAME, b"x" * _ID_LENGTH)[:-_ID_LENGTH]
_FIELD_OVERHEAD = 32  # RFC 9113, section 6.5.2
_OWN_ID_LIST_BYTES = len(ID_NAME) + _ID_LENGTH + _FIELD_OVERHEAD
NO_TRAILERS = CallHead()
#: What is known of an id in the body: it has none, it was found, it may come at some time, or with the next bytes.
ID_IS_NOT, ID_IS_FOUND, ID_MAY_COME, ID_MAY_FOLLOW = range(4)


class CallCapture(Protocol):
    """Where calls go when they have ended; as ``recording.capture.Capture``."""

    def note_call(self, ended: EndedCall, size_bytes: int, now_s: float) -> None:
        """It has ended now, and is described when the next batch is made."""

    def record_call(self, call: Call, now_s: float) -> None:
        """It has ended now."""

    def lose_call(self, route: Route, duration_s: float, reason: str) -> None:
        """Nobody knows how it ends."""


class CallParts:
    """What all calls share.

    ``room``: for all bodies in flight together. ``max_calls``: how many calls of one connection are followed at a
    time.
    """

    def __init__(
        self,
        *,
        capture: CallCapture,
        meters: Meters,
        clock: Clock,
        event_ids: EventIds,
        meaning: HeadMeaning,
        room: CaptureRoom,
        default_model: str,
        default_version: str,
        max_body_bytes: int,
        max_head_bytes: int,
        max_calls: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capture = capture
        self.meters: Meters = meters
        self.clock = clock
        self.event_ids: EventIds = event_ids
        self.meaning: HeadMeaning = meaning
        self.room: CaptureRoom = room
        self.default_model = default_model
        self.default_version = default_version
        self.max_body_bytes = max_body_bytes
        self.max_head_bytes = max_head_bytes
        self.max_calls = max_calls
        self.now_s = now_s
        self.beginnings: Beginnings = Beginnings()


class FollowedCall:
    """One inference between its client and the model server; subclasses know what its bodies are."""

    __slots__ = (
        "_event_id",
        "_first_byte_s",
        "_head",
        "_parts",
        "_request_id",
        "_started_s",
        "_time_ns",
        "_told",
        "answer",
    )

    def __init__(self, parts: CallParts, head: CallHead) -> None:
        self._parts: CallParts = parts
        self._head: CallHead = head
        self._started_s: float = parts.now_s()
        self._time_ns = time_ns = int(parts.clock() * 1e9)
        self._event_id: str = parts.event_ids.new(time_ns)
        self._request_id: str = head.request_id
        #: The field that told the server the call's id; empty where nothing had to.
        self._told = b""
        self._first_byte_s = 0.0
        #: The answer's first header block; None until it has come.
        self.answer: CallHead | None = None

    # --- while it passes ------------------------------------------------------------------------------------------
    def announced(self, data: bytes, behind: int, stream: int, max_list_bytes: int, waits: bool) -> bytes | None:
        """The encoded field that tells the server the call's id, where nothing else does.

        Server, caller and event speak of a call by one id: where its body may still say one, the server is told none,
        and what it was told is the call's id from then on, whatever the body says. ``data[behind:]``: what came along
        with the header block. ``max_list_bytes``: what the server takes. ``waits``: None may be returned, which asks
        for what comes next.
        """
        if self._request_id:
            return b""
        found = self._look_for_id(data, behind, stream)
        if found != ID_IS_NOT:
            return None if waits and found == ID_MAY_FOLLOW else b""
        if max_list_bytes and self._head.list_bytes + _OWN_ID_LIST_BYTES > max_list_bytes:
            return b""
        self._request_id = self._event_id
        self._told = _OWN_ID + self._event_id.encode()
        return self._told

    def take_answer(self, head: CallHead, max_list_bytes: int) -> bytes:
        """The answer's first header block came; returns the encoded field that tells the caller the call's id.

        What the server itself says in x-request-id stays, and is the call's id from now on, because it is what the
        caller sees. ``max_list_bytes``: what the caller takes.
        """
        if 100 <= head.status < 200:
            return b""
        self.answer = head
        self._first_byte_s = self._parts.now_s()
        if head.names_request_id:
            self._request_id = head.request_id
            return b""
        if self._told and not max_list_bytes:
            return self._told
        return _id_field(self._request_id or self._settled_id(), head, max_list_bytes)

    def take_request(self, data: bytes, start: int, end: int, ends: bool) -> None:
        """``data[start:end]``, which may be nothing, is a piece of the request's body. ``ends``: it is complete."""
        raise NotImplementedError

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

    def _look_for_id(self, data: bytes, behind: int, stream: int) -> int:
        """Look for an id in the body, as far as it came along with the header block; what is found is the call's."""
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
            self._fail_to_describe()
            return
        self._release()
        self._parts.capture.record_call(call, self._parts.now_s())

    def _fail_to_describe(self) -> None:
        """Called where an exception is handled."""
        _log.error("a call could not be captured", exc_info=True)
        self.drop(REASON_INTERNAL)


def body_behind(data: bytes, position: int, stream: int) -> tuple[int, int]:
    """Where the body begins that came along with its header block, and where its first frame ends, or will.

    Both are the same where there is none: the end of ``data`` where it may follow at once, 0 where it does not.
    """
    size = len(data)
    while size - position >= HEAD_BYTES:
        high, low, kind, flags, its_stream = unpack_head(data, position)
        position += HEAD_BYTES
        end = position + (high << 8 | low)
        if kind == DATA and its_stream == stream and not flags & PADDED:
            return position, end
        if kind != WINDOW_UPDATE and its_stream:  # clients put the former between, and what concerns the connection
            return 0, 0
        position = end
    return size, size


def _id_field(request_id: str, head: CallHead, max_list_bytes: int) -> bytes:
    """x-request-id as a field of a header block; nothing where the block would grow past what its reader takes."""
    value = request_id.encode("latin-1")
    size = len(value)
    if max_list_bytes and head.list_bytes + len(ID_NAME) + size + _FIELD_OVERHEAD > max_list_bytes:
        return b""
    return literal(ID_NAME, value)
