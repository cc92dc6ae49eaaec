"""Calls in flight that are inferences, from their first header block to the event they become."""

import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from driftline import names
from driftline.clock import Clock
from driftline.events import Payload
from logger_sidecar.http1.routes import Route
from logger_sidecar.http2 import grpc_status
from logger_sidecar.http2.frames import CANCEL, literal
from logger_sidecar.http2.grpc_heads import PROTOCOL_V2, CallHead, HeadMeaning, Method
from logger_sidecar.http2.grpc_messages import PREFIX_BYTES, CaptureRoom, Messages, split_messages
from logger_sidecar.http2.v2_messages import (
    BEGINNING_BYTES,
    NO_BEGINNING,
    SHARED_MEMORY_REGION,
    Beginning,
    Beginnings,
    error_of_stream_response,
    names_shared_memory,
)
from logger_sidecar.recording.capture import NOT_OBSERVABLE_SHARED_MEMORY, STATUS_CLIENT_GONE, Call, Capture
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters

#: Why an inference that was seen is not captured: what follows on its connection cannot be understood, or more calls
#: are in flight on it than are followed.
REASON_UNOBSERVED = "connection_unobserved"
REASON_TOO_MANY_CALLS = "too_many_calls"
REASON_INTERNAL = "internal_error"

_log = logging.getLogger("driftline.sidecar")
_ID_NAME = names.HEADER_REQUEST_ID.encode()
#: A message whose tensors lie in shared memory is short, because they are not in it.
_SHARED_MEMORY_BYTES = 16384
_LOOKED_AT_MESSAGES = 1024
_PEEK_BYTES = PREFIX_BYTES + BEGINNING_BYTES
#: Window bits by which zlib reads what each encoding writes.
_INFLATED = {"gzip": 31, "deflate": 15}
_MAX_INFLATED_BYTES = 4096
_NO_TRAILERS = CallHead()


@dataclass(slots=True)
class CallParts:
    """What all calls share.

    ``room``: for all bodies in flight together. ``max_calls``: how many calls of one connection are followed at a
    time. ``variant``: of the streams whose answers do not name one.
    """

    capture: Capture
    meters: Meters
    clock: Clock
    event_ids: EventIds
    meaning: HeadMeaning
    room: CaptureRoom
    default_model: str
    default_version: str
    variant: str
    max_body_bytes: int
    max_head_bytes: int
    max_calls: int
    now_s: Callable[[], float] = time.monotonic
    beginnings: Beginnings = field(default_factory=Beginnings)


class OpenCall:
    """One inference between its client and the model server."""

    __slots__ = (
        "_answer",
        "_beginning",
        "_event_id",
        "_first_byte_s",
        "_first_message_s",
        "_head",
        "_method",
        "_parts",
        "_request_id",
        "_started_s",
        "_time_ns",
        "_trailers",
        "request",
        "response",
    )

    def __init__(self, parts: CallParts, head: CallHead, method: Method) -> None:
        self._parts = parts
        self._head = head
        self._method = method
        self._started_s = parts.now_s()
        self._time_ns = int(parts.clock() * 1e9)
        self._event_id = parts.event_ids.new(self._time_ns)
        self._request_id = head.request_id
        self._first_byte_s = 0.0
        #: When the first message of a streamed answer was whole; 0.0 until then, and where the answer is no stream.
        self._first_message_s = 0.0
        self._answer: CallHead | None = None
        self._trailers = _NO_TRAILERS
        self._beginning = NO_BEGINNING
        self.request = Messages(parts.room, max(parts.max_body_bytes, _PEEK_BYTES))
        self.response = Messages(parts.room, parts.max_body_bytes)

    # --- while it passes ------------------------------------------------------------------------------------------
    def announced(self, body: bytes, max_list_bytes: int) -> bytes:
        """The encoded field that tells the server the call's id, where nothing else does.

        ``body``: as much of the body as came along with the header block. ``max_list_bytes``: what the server takes.
        """
        if self._request_id:
            return b""
        if self._is_v2 and body:
            self._beginning = self._read(body)
            self._request_id = self._beginning.id
            if self._request_id:
                return b""
        return _id_field(self._event_id, self._head, max_list_bytes)

    def take_answer(self, head: CallHead, max_list_bytes: int) -> bytes:
        """The answer's first header block came; returns the encoded field that tells the caller the call's id.

        What the server itself says in x-request-id stays, and is the call's id from now on, because it is what the
        caller sees. ``max_list_bytes``: what the caller takes.
        """
        if head.is_informational:
            return b""
        self._answer = head
        self._first_byte_s = self._parts.now_s()
        if head.names_request_id:
            self._request_id = head.request_id
            return b""
        if not self._request_id:
            self._request_id = self._begins_with().id or self._event_id
        return _id_field(self._request_id, head, max_list_bytes)

    @property
    def is_answered(self) -> bool:
        """Whether the answer's first header block has come."""
        return self._answer is not None

    def take_response(self, data: bytes, start: int, end: int) -> None:
        """A piece of the answer's messages passed."""
        self.response.append(data, start, end)
        if self._method.streams and not self._first_message_s and self.response.has_message:
            self._first_message_s = self._parts.now_s()

    # --- its end --------------------------------------------------------------------------------------------------
    def complete(self, trailers: CallHead | None) -> None:
        """The answer is complete. ``trailers``: what came with its end; None where nothing did."""
        self._trailers = trailers or _NO_TRAILERS
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
        """The client ended it, or is gone.

        A client whose deadline has passed cancels, too, and the caller is told "deadline exceeded".
        """
        if self._is_late:
            self._fail(grpc_status.DEADLINE_EXCEEDED)
        else:
            self._record(STATUS_CLIENT_GONE, grpc_status.CANCELLED)

    def reset(self, error: int) -> None:
        """The server ended it at once, with this HTTP/2 error code: it, too, keeps to the deadline."""
        if error == CANCEL and self._is_late:
            self._fail(grpc_status.DEADLINE_EXCEEDED)
        else:
            self._fail(grpc_status.status_of_reset(error))

    def lose_server(self) -> None:
        """The server is gone."""
        self._fail(grpc_status.UNAVAILABLE)

    def drop(self, reason: str) -> None:
        """Nobody will know how it ends: count it as received and not captured."""
        parts, route = self._parts, self._route()
        stream = parts.meters.stream(route.model, route.version, parts.variant, grpc_status.CODE_UNSEEN)
        stream.answered(route.protocol, grpc_status.CODE_UNSEEN, parts.now_s() - self._started_s)
        stream.drop(reason)
        self._release()

    def forget(self) -> None:
        """It was never looked at, and is asked again elsewhere."""
        self._release()

    @property
    def _is_late(self) -> bool:
        """Whether the deadline has passed; it began before the call came by here, and clocks are coarse."""
        timeout_s = self._head.timeout_s
        return timeout_s > 0 and self._parts.now_s() - self._started_s >= 0.95 * timeout_s - 0.005

    def _fail(self, status: int) -> None:
        self._record(grpc_status.http_code(status), status)

    def _record(self, code: int, status: int) -> None:
        try:
            call = self._event(code, status)
        except Exception:  # noqa: BLE001 - whatever is wrong with one event must not reach the connection
            _log.error("a call could not be captured", exc_info=True)
            self.drop(REASON_INTERNAL)
            return
        self._release()
        self._parts.capture.record_call(call, self._parts.now_s())

    def _event(self, code: int, status: int) -> Call:
        parts, head, answer, trailers = self._parts, self._head, self._answer, self._trailers
        request = self.request.kept[: parts.max_body_bytes]
        response = self.response.kept
        now_s = parts.now_s()
        request_id = self._request_id or self._begins_with().id or self._event_id
        is_stream = self._is_stream
        stream_error, has_content = self._stream_error(response)
        return Call(
            route=self._route(),
            event_id=self._event_id,
            request_id=request_id,
            time_ns=self._time_ns,
            started_s=self._started_s,
            first_byte_s=self._first_byte_s or now_s,
            request=_payload(head, request, self._request_notes(request_id)),
            response=_payload(answer, response, self._response_notes(trailers)),
            request_bytes=self.request.seen_bytes,
            response_bytes=self.response.seen_bytes,
            code=code,
            status_code=answer.status if answer is not None else code,
            grpc_status=status,
            truncated=self.request.is_cut or self.response.is_cut or len(request) < self.request.seen_bytes,
            traceparent=head.traceparent,
            variant=trailers.variant or (answer.variant if answer is not None else ""),
            chunk_count=self.response.count if is_stream else 0,
            first_message_s=self._first_message_s if is_stream and has_content else 0.0,
            stream_error=stream_error,
            not_observable=self._not_observable(request),
        )

    @property
    def _is_stream(self) -> bool:
        if self._is_v2:
            return self._method.streams
        return self.response.count != 1 or self.request.count != 1

    def _request_notes(self, request_id: str) -> dict[str, str]:
        """What a reader of the request needs to know besides its allowed headers."""
        notes = {}
        if self.request.compressed and self._head.encoding:
            notes["grpc-encoding"] = self._head.encoding
        if self._head.names_request_id and self._head.request_id != request_id:
            notes[names.HEADER_REQUEST_ID] = self._head.request_id  # the server answered with another one
        return notes

    def _response_notes(self, trailers: CallHead) -> dict[str, str]:
        notes = dict(trailers.headers)
        if trailers.grpc_message:
            notes["grpc-message"] = trailers.grpc_message
        if self.response.compressed and self._answer is not None and self._answer.encoding:
            notes["grpc-encoding"] = self._answer.encoding
        return notes

    # --- what the messages say ------------------------------------------------------------------------------------
    @property
    def _is_v2(self) -> bool:
        return self._method.protocol == PROTOCOL_V2

    def _route(self) -> Route:
        parts, beginning = self._parts, self._begins_with()
        return Route(
            self._method.protocol, beginning.model or parts.default_model, beginning.version or parts.default_version
        )

    def _begins_with(self) -> Beginning:
        """What the first message says of model, version and id, as far as it is there."""
        if not self._beginning.is_whole and self._is_v2:
            self._beginning = self._read(self.request.beginning(_PEEK_BYTES))
        return self._beginning

    def _read(self, body: bytes) -> Beginning:
        return self._parts.beginnings.read(self._first_message(body))

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
        if not self._is_v2 or not self._method.streams:
            return "", True
        for rank, message in enumerate(split_messages(response, _LOOKED_AT_MESSAGES)):
            if error := error_of_stream_response(message, self._beginning.model):
                return error, rank > 0
        return "", True

    def _not_observable(self, request: bytes) -> str:
        if not self._is_v2 or self.request.seen_bytes >= _SHARED_MEMORY_BYTES:
            return ""
        if SHARED_MEMORY_REGION not in request and not self.request.compressed:
            return ""
        if self.request.compressed:
            messages = [self._first_message(request)]
        else:
            messages = split_messages(request, _LOOKED_AT_MESSAGES)
        return NOT_OBSERVABLE_SHARED_MEMORY if any(map(names_shared_memory, messages)) else ""

    def _release(self) -> None:
        self.request.release()
        self.response.release()


def _id_field(request_id: str, head: CallHead, max_list_bytes: int) -> bytes:
    """x-request-id as a field of a header block; nothing where the block would grow past what its reader takes."""
    value = request_id.encode("latin-1")
    if max_list_bytes and head.list_bytes + len(_ID_NAME) + len(value) + 32 > max_list_bytes:
        return b""
    return literal(_ID_NAME, value)


def _payload(head: CallHead | None, body: bytes, notes: dict[str, str]) -> Payload:
    if head is None:
        return Payload(body=body)
    headers = {**head.headers, **notes} if notes else head.headers
    return Payload(content_type=head.content_type, headers=headers, body=body)
