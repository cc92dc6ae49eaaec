"""Calls over gRPC in flight that are inferences, from their first header block to the event they become."""

import zlib

from driftline import names
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2 import grpc_status
from logger_sidecar.http2.followed_call import NO_TRAILERS, CallParts, FollowedCall, body_behind
from logger_sidecar.http2.frames import CANCEL
from logger_sidecar.http2.grpc_messages import PREFIX_BYTES, Messages, split_messages
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


class GrpcCall(FollowedCall):
    """One call of a method whose calls are inferences."""

    __slots__ = ("_beginning", "_first_message_s", "_is_v2", "_request", "_response", "_streams", "_trailers")

    def __init__(self, parts: CallParts, head: CallHead, method: Method) -> None:
        super().__init__(parts, head)
        self._is_v2 = method.protocol == PROTOCOL_V2
        self._streams = method.streams
        #: When the first message of a streamed answer was whole; 0.0 until then, and where the answer is no stream.
        self._first_message_s = 0.0
        self._trailers = NO_TRAILERS
        self._beginning = NO_BEGINNING
        room_bytes = parts.max_body_bytes
        self._request = Messages(parts.room, max(room_bytes, _PEEK_BYTES))
        self._response = Messages(parts.room, room_bytes)

    # --- while it passes ------------------------------------------------------------------------------------------
    def take_request(self, data: bytes, start: int, end: int) -> None:
        """Part of FollowedCall."""
        self._request.append(data, start, end)

    def take_response(self, data: bytes, start: int, end: int) -> None:
        """Part of FollowedCall."""
        self._response.append(data, start, end)
        if self._streams and not self._first_message_s and self._response.has_message:
            self._first_message_s = self._parts.now_s()

    # --- its end --------------------------------------------------------------------------------------------------
    def complete(self, trailers: CallHead | None) -> None:
        """Part of FollowedCall."""
        self._trailers = trailers or NO_TRAILERS
        answer = self._answer or self._trailers
        http_status = answer.status
        status = self._trailers.grpc_status
        if status is None:
            status = answer.grpc_status
        if status is not None:
            code = grpc_status.http_code(status)
        elif http_status in (0, 200):
            status, code = grpc_status.UNKNOWN, grpc_status.http_code(grpc_status.UNKNOWN)
        else:
            status, code = grpc_status.status_of_http(http_status), http_status
        self._record(code, status)

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
        head, answer, asked, answered = self._head, self._answer, self._request, self._response
        request, response = asked.kept, answered.kept
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
            request_bytes=asked.seen_bytes,
            response_head=answer,
            response_body=response,
            response_bytes=answered.seen_bytes,
            code=code,
            status_code=code if answer is None else answer.status,
            grpc_status=status,
            truncated=asked.is_cut or answered.is_cut or len(request) < asked.seen_bytes,
            variant=self._trailers.variant or ("" if answer is None else answer.variant),
        )
        if self._streams and self._is_stream:
            self._note_stream(call)
        self._note(call)
        return call

    def _note_stream(self, call: Call) -> None:
        """What events of streams say besides."""
        call.chunk_count = self._response.count
        call.stream_error, has_content = self._stream_error(call.response_body)
        if has_content:
            call.first_message_s = self._first_message_s

    def _note(self, call: Call) -> None:
        """What a reader needs to know besides the allowed headers: most often nothing."""
        head, answer, trailers = self._head, self._answer, self._trailers
        if self._request.compressed and head.encoding:
            call.request_notes["grpc-encoding"] = head.encoding
        if head.names_request_id and head.request_id != call.request_id:  # the server answered with another one
            call.request_notes[names.HEADER_REQUEST_ID] = head.request_id
        if trailers.headers:
            call.response_notes.update(trailers.headers)
        if trailers.grpc_message:
            call.response_notes["grpc-message"] = trailers.grpc_message
        if self._response.compressed and answer is not None and answer.encoding:
            call.response_notes["grpc-encoding"] = answer.encoding
        if self._is_v2 and self._request.seen_bytes < SHARED_MEMORY_BODY_BYTES:
            call.not_observable = self._not_observable(call.request_body)

    @property
    def _is_stream(self) -> bool:
        if self._is_v2:
            return self._streams
        return self._response.count != 1 or self._request.count != 1

    def _release(self) -> None:
        self._request.release()
        self._response.release()

    # --- what the messages say ------------------------------------------------------------------------------------
    def _route(self) -> Route:
        parts, beginning = self._parts, self._begins_with()
        return Route(
            self._head.method.protocol if self._head.method else PROTOCOL_V2,
            beginning.model or parts.default_model,
            beginning.version or parts.default_version,
        )

    def _finds_id(self, data: bytes, behind: int, stream: int) -> bool:
        if not self._is_v2:
            return False
        body = body_behind(data, behind, stream)
        if not body:
            return False
        self._beginning = beginning = self._read(body)
        self._request_id = beginning.id
        return beginning.id != ""

    def _settled_id(self) -> str:
        if not self._request_id:
            self._request_id = self._begins_with().id or self._event_id
        return self._request_id

    def _begins_with(self) -> Beginning:
        """What the first message says of model, version and id, as far as it is there."""
        if not self._beginning.is_whole and self._is_v2:
            self._beginning = self._read(self._request.beginning(_PEEK_BYTES))
        return self._beginning

    def _read(self, body: bytes) -> Beginning:
        return self._parts.beginnings.newest_in(body) or self._parts.beginnings.read(self._first_message(body))

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

    def _not_observable(self, request: bytes) -> str:
        if self._request.compressed:
            messages = [self._first_message(request)]
        elif SHARED_MEMORY_REGION in request:
            messages = split_messages(request, _LOOKED_AT_MESSAGES)
        else:
            return ""
        return NOT_OBSERVABLE_SHARED_MEMORY if any(map(names_shared_memory, messages)) else ""
