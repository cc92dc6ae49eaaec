"""Calls over gRPC in flight that are inferences, from their first header block to the event they become."""

import zlib

from driftline import names
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2 import grpc_status
from logger_sidecar.http2.followed_call import (
    ID_IS_FOUND,
    ID_IS_NOT,
    ID_MAY_COME,
    ID_MAY_FOLLOW,
    NO_TRAILERS,
    CallParts,
    FollowedCall,
    body_behind,
)
from logger_sidecar.http2.frames import CANCEL
from logger_sidecar.http2.grpc_messages import PREFIX_BYTES, Messages, split_messages, unpack_length
from logger_sidecar.http2.stream_heads import PROTOCOL_V2, CallHead, Method
from logger_sidecar.http2.v2_messages import (
    BEGINNING_BYTES,
    NO_BEGINNING,
    Beginning,
    error_of_stream_response,
    names_shared_memory,
)
from logger_sidecar.recording.calls import Call
from logger_sidecar.recording.capture import STATUS_CLIENT_GONE
from logger_sidecar.recording.shared_memory import (
    NOT_OBSERVABLE_SHARED_MEMORY,
    SHARED_MEMORY_BODY_BYTES,
    SHARED_MEMORY_REGION,
)

_LOOKED_AT_MESSAGES = 1024
_PEEK_BYTES = PREFIX_BYTES + BEGINNING_BYTES
#: Window bits by which zlib reads what each encoding writes.
_INFLATED = {"gzip": 31, "deflate": 15}
_MAX_INFLATED_BYTES = 4096
#: How a half begins whose first message is not compressed, or that has none.
_PLAIN = (b"", b"\0")


class GrpcCall(FollowedCall):
    """One call of a method whose calls are inferences.

    Each half of most is one message that comes whole: that is kept as it is, and the call is described when the next
    batch of records is made. ``Messages`` keep the halves of all others.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_beginning",
        "_first_message_s",
        "_held_bytes",
        "_is_v2",
        "_request",
        "_response",
        "_streams",
        "_trailers",
    )

    def __init__(self, parts: CallParts, head: CallHead, method: Method) -> None:
        super().__init__(parts, head)
        self._is_v2: bool = method.is_v2
        self._streams: bool = method.streams
        self._beginning = NO_BEGINNING
        self._trailers: CallHead = NO_TRAILERS
        #: A half that is one message, and how much room such halves take.
        self._asked = self._answered = b""
        self._held_bytes = 0
        #: A half that is not.
        self._request: Messages | None = None
        self._response: Messages | None = None
        #: When the first message of a streamed answer was whole; 0.0 until then, and where the answer is no stream.
        self._first_message_s = 0.0

    # --- while it passes ------------------------------------------------------------------------------------------
    def take_request(self, data: bytes, start: int, end: int, ends: bool) -> None:
        """Part of FollowedCall."""
        if self._request is None:
            if start == end:
                return
            if not self._asked and self._holds(data, start, end):
                self._asked = data[start:end]
                return
            self._request = self._messages(self._asked, max(self._parts.max_body_bytes, _PEEK_BYTES))
            self._asked = b""
        self._request.append(data, start, end)

    def take_response(self, data: bytes, start: int, end: int) -> None:
        """Part of FollowedCall."""
        if self._response is None:
            if not self._streams and not self._answered and self._holds(data, start, end):
                self._answered = data[start:end]
                return
            self._response = self._messages(self._answered, self._parts.max_body_bytes)
            self._answered = b""
        self._response.append(data, start, end)
        if self._streams and not self._first_message_s and self._response.has_message:
            self._first_message_s = self._parts.now_s()

    def _holds(self, data: bytes, start: int, end: int) -> bool:
        """Hold the room of a piece of a body that is one whole message, where there is so much room."""
        size: int
        size = end - start
        room = self._parts.room
        if size > self._parts.max_body_bytes or size < PREFIX_BYTES or room.held_bytes + size > room.max_bytes:
            return False
        if unpack_length(data, start + 1)[0] != size - PREFIX_BYTES:
            return False
        room.held_bytes += size
        self._held_bytes += size
        return True

    def _messages(self, first: bytes, room_bytes: int) -> Messages:
        """What keeps a half of which this much was held before."""
        self._held_bytes -= len(first)
        self._parts.room.held_bytes -= len(first)
        messages = Messages(self._parts.room, room_bytes)
        if first:
            messages.append(first, 0, len(first))
        return messages

    # --- its end --------------------------------------------------------------------------------------------------
    def complete(self, trailers: CallHead | None) -> None:
        """Part of FollowedCall."""
        if trailers is not None:
            self._trailers = trailers
        if self._request is None and self._response is None:
            size_bytes = self._held_bytes
            self._release_held()
            self._parts.capture.note_call(self, size_bytes, self._parts.now_s())
        else:
            code, status = self._outcome()
            self._record(code, status)

    def described(self) -> Call | None:
        """Part of EndedCall."""
        try:
            code, status = self._outcome()
            return self._call(code, status)
        except Exception:  # noqa: BLE001 - as in _record
            self._fail_to_describe()
            return None

    def _outcome(self) -> tuple[int, int]:
        """As the metrics count it, and the status as the caller sees it."""
        answer = self.answer or self._trailers
        http_status = answer.status
        status = self._trailers.grpc_status
        if status is None:
            status = answer.grpc_status
        if status is not None:
            return grpc_status.http_code(status), status
        if http_status in (0, 200):
            return grpc_status.http_code(grpc_status.UNKNOWN), grpc_status.UNKNOWN
        return http_status, grpc_status.status_of_http(http_status)

    def cancel(self) -> None:
        """Part of FollowedCall.

        A client whose deadline has passed cancels, too, and the caller is told "deadline exceeded".
        """
        if self._is_late:
            self._fail(grpc_status.DEADLINE_EXCEEDED)
        else:
            self._record(STATUS_CLIENT_GONE, grpc_status.CANCELLED)

    def reset(self, error: int) -> None:
        """Part of FollowedCall; the server, too, keeps to the deadline."""
        if error == CANCEL and self._is_late:
            self._fail(grpc_status.DEADLINE_EXCEEDED)
        else:
            self._fail(grpc_status.status_of_reset(error))

    def lose_server(self) -> None:
        """Part of FollowedCall."""
        self._fail(grpc_status.UNAVAILABLE)

    @property
    def _is_late(self) -> bool:
        """Whether the deadline has passed; it began before the call came by here, and clocks are coarse."""
        timeout_s = self._head.timeout_s
        return timeout_s > 0 and self._parts.now_s() - self._started_s >= 0.95 * timeout_s - 0.005

    def _fail(self, status: int) -> None:
        self._record(grpc_status.http_code(status), status)

    def _call(self, code: int, status: int) -> Call:
        head, answer, asked, answered = self._head, self.answer, self._request, self._response
        request, response = self._asked, self._answered
        asked_bytes, answered_bytes, is_cut = len(request), len(response), False
        if asked is not None:
            request, asked_bytes, is_cut = asked.kept, asked.seen_bytes, asked.is_cut
        if answered is not None:
            response, answered_bytes, is_cut = answered.kept, answered.seen_bytes, is_cut or answered.is_cut
        request_id = self._request_id or self._settled_id()
        room_bytes = self._parts.max_body_bytes
        if len(request) > room_bytes:
            request = request[:room_bytes]
        call = Call(
            route=self._route(),
            event_id=self._event_id,
            request_id=request_id,
            time_ns=self._time_ns,
            started_s=self._started_s,
            first_byte_s=self._first_byte_s,
            request_head=head,
            request_body=request,
            request_bytes=asked_bytes,
            response_head=answer,
            response_body=response,
            response_bytes=answered_bytes,
            code=code,
            status_code=code if answer is None else answer.status,
            grpc_status=status,
            truncated=is_cut or len(request) < asked_bytes,
            variant=self._trailers.variant or ("" if answer is None else answer.variant),
        )
        if self._streams and self._is_stream:
            self._note_stream(call)
        self._note(call)
        return call

    def _note_stream(self, call: Call) -> None:
        """What events of streams say besides."""
        call.chunk_count = self._count(self._response, self._answered)
        call.stream_error, has_content = self._stream_error(call.response_body)
        if has_content:
            call.first_message_s = self._first_message_s

    def _note(self, call: Call) -> None:
        """What a reader needs to know besides the allowed headers: most often nothing."""
        head, answer, trailers = self._head, self.answer, self._trailers
        is_compressed = self._is_compressed(self._request, self._asked)
        if is_compressed and head.encoding:
            call.request_notes["grpc-encoding"] = head.encoding
        if head.names_request_id and head.request_id != call.request_id:  # the server answered with another one
            call.request_notes[names.HEADER_REQUEST_ID] = head.request_id
        if trailers.headers:
            call.response_notes.update(trailers.headers)
        if trailers.grpc_message:
            call.response_notes["grpc-message"] = trailers.grpc_message
        if answer is not None and answer.encoding and self._is_compressed(self._response, self._answered):
            call.response_notes["grpc-encoding"] = answer.encoding
        if self._is_v2 and call.request_bytes < SHARED_MEMORY_BODY_BYTES:
            call.not_observable = self._not_observable(call.request_body, is_compressed)

    @property
    def _is_stream(self) -> bool:
        if self._is_v2:
            return self._streams
        return self._count(self._response, self._answered) != 1 or self._count(self._request, self._asked) != 1

    def _count(self, messages: Messages | None, whole: bytes) -> int:
        """How many messages a half has."""
        return messages.count if messages is not None else int(whole != b"")

    def _is_compressed(self, messages: Messages | None, whole: bytes) -> bool:
        """Whether a message of this half is."""
        return messages.compressed if messages is not None else whole[:1] not in _PLAIN

    def _release(self) -> None:
        if self._request is not None:
            self._request.release()
        if self._response is not None:
            self._response.release()
        self._release_held()

    def _release_held(self) -> None:
        self._parts.room.held_bytes -= self._held_bytes
        self._held_bytes = 0

    # --- what the messages say ------------------------------------------------------------------------------------
    def _route(self) -> Route:
        parts, beginning = self._parts, self._begins_with()
        return Route(
            self._head.method.protocol if self._head.method else PROTOCOL_V2,
            beginning.model or parts.default_model,
            beginning.version or parts.default_version,
        )

    def _look_for_id(self, data: bytes, behind: int, stream: int) -> int:
        start: int
        end: int
        if not self._is_v2 or self._streams:  # the messages of a stream have an id each, if any
            return ID_IS_NOT
        start, end = body_behind(data, behind, stream)
        if not start:
            return ID_MAY_COME
        if (end > len(data) and len(data) - start < _PEEK_BYTES) or start == end:
            return ID_MAY_FOLLOW
        self._beginning = beginning = self._read(data, start, min(end, len(data)))
        self._request_id = beginning.id
        return ID_IS_FOUND if beginning.id else ID_IS_NOT

    def _settled_id(self) -> str:
        if not self._request_id:
            self._request_id = self._begins_with().id or self._event_id
        return self._request_id

    def _begins_with(self) -> Beginning:
        """What the first message says of model, version and id, as far as it is there."""
        if not self._beginning.is_whole and self._is_v2:
            body = self._asked if self._request is None else self._request.beginning(_PEEK_BYTES)
            if body:
                self._beginning = self._read(body, 0, len(body))
        return self._beginning

    def _read(self, data: bytes, start: int, end: int) -> Beginning:
        beginnings = self._parts.beginnings
        known = beginnings.newest_at(data, start, end)
        return known or beginnings.read(self._first_message(data[start : min(end, start + _PEEK_BYTES)]))

    def _first_message(self, body: bytes) -> bytes:
        length = int.from_bytes(body[1:PREFIX_BYTES], "big")
        message = body[PREFIX_BYTES : PREFIX_BYTES + min(length, BEGINNING_BYTES)]
        return self._inflated(message) if body[:1] == b"\x01" else message

    def _inflated(self, message: bytes) -> bytes:
        """The beginning of a compressed message: so little that it may be read on the way. Empty where it cannot."""
        bits = _INFLATED.get(self._head.encoding)
        if bits is None:
            return b""
        try:
            return zlib.decompressobj(bits).decompress(message, _MAX_INFLATED_BYTES)
        except zlib.error:
            return b""

    def _stream_error(self, response: bytes) -> tuple[str, bool]:
        """The first error among a stream's messages, and whether anything else came before it."""
        if not self._is_v2:
            return "", True
        for rank, message in enumerate(split_messages(response, _LOOKED_AT_MESSAGES)):
            if error := error_of_stream_response(message, self._beginning.model):
                return error, rank > 0
        return "", True

    def _not_observable(self, request: bytes, is_compressed: bool) -> str:
        if is_compressed:
            messages = [self._first_message(request)]
        elif SHARED_MEMORY_REGION in request:
            messages = split_messages(request, _LOOKED_AT_MESSAGES)
        else:
            return ""
        return NOT_OBSERVABLE_SHARED_MEMORY if any(map(names_shared_memory, messages)) else ""
