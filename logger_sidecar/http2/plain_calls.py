"""Inferences over HTTP/2 that are no gRPC: requests to the same paths as over HTTP/1.1, and the same events of them."""

from logger_sidecar.http1.request_ids import PROTOCOLS_WITH_BODY_ID, READ_BYTES, body_id
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.followed_call import (
    ID_IS_FOUND,
    ID_IS_NOT,
    ID_MAY_COME,
    ID_MAY_FOLLOW,
    CallParts,
    FollowedCall,
    body_behind,
)
from logger_sidecar.http2.stream_heads import CallHead
from logger_sidecar.recording.calls import Call
from logger_sidecar.recording.capture import STATUS_CLIENT_GONE
from logger_sidecar.recording.shared_memory import shares_memory

_STATUS_BAD_GATEWAY = 502
#: As over HTTP/1.1 (exchange.Half).
_MAX_ARRIVALS = 4096


class Body:
    """One half's body as it passes, kept as far as there is room. ``room_bytes``: at most so much of it."""

    __slots__ = ("_first", "_rest", "_room", "_room_bytes", "seen_bytes", "truncated")

    def __init__(self, room: CaptureRoom, room_bytes: int) -> None:
        self._room = room
        self._room_bytes = room_bytes
        self._first = b""
        self._rest = bytearray()  # not a list: pieces may be tiny
        self.seen_bytes = 0
        self.truncated = False

    @property
    def kept(self) -> bytes:
        """All that was kept."""
        return self._first + self._rest if self._rest else self._first

    def beginning(self) -> bytes:
        """Where an id would stand."""
        return (self._first + self._rest[:READ_BYTES])[:READ_BYTES]

    def append(self, data: bytes, start: int, end: int) -> None:
        """``data[start:end]`` passed."""
        size = end - start
        self.seen_bytes += size
        free = max(0, min(self._room_bytes, self._room.max_bytes - self._room.held_bytes))
        if size > free:
            size, self.truncated = free, True
        self._room_bytes = 0 if self.truncated else self._room_bytes - size
        self._room.held_bytes += size
        if self._first:
            self._rest += data[start : start + size]
        else:
            self._first = data[start : start + size]

    def release(self) -> None:
        """Let go what was kept."""
        self._room.held_bytes -= len(self._first) + len(self._rest)
        self._first = b""
        self._rest = bytearray()


class PlainCall(FollowedCall):
    """One request whose path is that of an inference, and its answer."""

    __slots__ = (
        "_arrivals",
        "_is_asked",
        "_is_whole",
        "_known_route",
        "_looks_for_id",
        "_request",
        "_response",
        "_variant",
    )

    def __init__(self, parts: CallParts, head: CallHead, route: Route) -> None:
        super().__init__(parts, head)
        self._known_route = route
        self._looks_for_id = not head.request_id and route.protocol in PROTOCOLS_WITH_BODY_ID
        self._request = Body(parts.room, parts.max_body_bytes)
        self._response = Body(parts.room, parts.max_body_bytes)
        self._is_asked = self._is_whole = False
        #: Of a stream of events: when each piece came, and how many bytes there were then.
        self._arrivals: list[tuple[int, float]] = []
        self._variant = ""

    # --- while it passes ------------------------------------------------------------------------------------------
    def take_request(self, data: bytes, start: int, end: int, ends: bool) -> None:
        """Part of FollowedCall."""
        if end > start:
            self._request.append(data, start, end)
        if ends:
            self._is_asked = True

    def take_response(self, data: bytes, start: int, end: int) -> None:
        """Part of FollowedCall."""
        self._response.append(data, start, end)
        answer = self.answer
        if answer is not None and answer.is_event_stream and len(self._arrivals) < _MAX_ARRIVALS:
            self._arrivals.append((self._response.seen_bytes, self._parts.now_s()))

    # --- its end --------------------------------------------------------------------------------------------------
    def complete(self, trailers: CallHead | None) -> None:
        """Part of FollowedCall."""
        if trailers is not None:
            self._variant = trailers.variant
        status = self.answer.status if self.answer is not None else 0
        self._is_whole = True
        status = status or _STATUS_BAD_GATEWAY
        self._record(status, status)

    def cancel(self) -> None:
        """Part of FollowedCall."""
        self._record(STATUS_CLIENT_GONE, STATUS_CLIENT_GONE)

    def reset(self, error: int) -> None:
        """Part of FollowedCall."""
        self._record(_STATUS_BAD_GATEWAY, _STATUS_BAD_GATEWAY)

    def lose_server(self) -> None:
        """Part of FollowedCall."""
        self._record(_STATUS_BAD_GATEWAY, _STATUS_BAD_GATEWAY)

    def _call(self, code: int, status: int) -> Call:
        asked, answered, answer, route = self._request, self._response, self.answer, self._known_route
        request = asked.kept
        is_cut = not self._is_asked or (not self._is_whole and answer is not None)
        return Call(
            route=route,
            event_id=self._event_id,
            request_id=self._settled_id(),
            time_ns=self._time_ns,
            started_s=self._started_s,
            first_byte_s=self._first_byte_s,
            request_head=self._head,
            request_body=request,
            request_bytes=asked.seen_bytes,
            response_head=answer,
            response_body=answered.kept,
            response_bytes=answered.seen_bytes,
            code=code,
            status_code=status,
            truncated=asked.truncated or answered.truncated or is_cut,
            variant=self._variant or (answer.variant if answer is not None else ""),
            not_observable=shares_memory(route.protocol, request, asked.seen_bytes),
            arrivals=[(end, (at_s - self._started_s) * 1e3) for end, at_s in self._arrivals],
        )

    def _release(self) -> None:
        self._request.release()
        self._response.release()

    # --- what it is about -----------------------------------------------------------------------------------------
    def _route(self) -> Route:
        return self._known_route

    def _look_for_id(self, data: bytes, behind: int, stream: int) -> int:
        if not self._looks_for_id or self._is_asked:
            return ID_IS_NOT
        start, end = body_behind(data, behind, stream)
        if not start or self._head.expects_continue:
            return ID_MAY_COME
        if (end > len(data) and len(data) - start < READ_BYTES) or start == end:
            return ID_MAY_FOLLOW
        self._request_id = body_id(data[start : min(end, start + READ_BYTES)])
        return ID_IS_FOUND if self._request_id else ID_IS_NOT

    def _settled_id(self) -> str:
        if not self._request_id and self._looks_for_id:
            self._request_id = body_id(self._request.beginning())
        self._request_id = self._request_id or self._event_id
        return self._request_id
