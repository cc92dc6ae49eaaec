"""From an exchange to the record of an inference: sampled, marked, and counted exactly once.

Most inferences take the fast path: their record is what their event's frame is made of, in parts that were encoded
before. Making the event, folding a stream, redaction and writing are the recorder's work, in a process of its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TypeVar

from driftline.events import Payload
from logger_sidecar.finishing.captured import Captured, encode_captured
from logger_sidecar.http1.exchange import Exchange, Half
from logger_sidecar.http1.heads import Head
from logger_sidecar.http1.request_ids import id_text
from logger_sidecar.http1.routes import Route
from logger_sidecar.recording.calls import Call, Described, EndedCall
from logger_sidecar.recording.capture_policy import CapturePolicy
from logger_sidecar.recording.event_frames import request_part, response_part, stream_part, traced
from logger_sidecar.recording.meters import Meters, StreamMeters
from logger_sidecar.recording.recorder_client import REASON_BUFFER_FULL, RECORD_BYTES, RecorderClient
from logger_sidecar.recording.recorder_wire import LARGE_BODY_BYTES, Body, Record, body_bytes
from logger_sidecar.recording.shared_memory import shares_memory
from logger_sidecar.recording.stream_errors import tells_error

#: The client left before its answer was complete; nginx's word for it.
STATUS_CLIENT_GONE = 499
_MAX_KINDS = 1024
#: Of a record the answer's body.
_ANSWER = itemgetter(10)
#: Content type and content encoding.
_Types = tuple[str | None, str | None]
_Key = TypeVar("_Key")
_NO_NOTES: Mapping[str, str] = {}
#: The status code under which the metrics count inferences of which nobody can say how they ended.
CODE_UNSEEN = 0
#: What is said of an answer that never came.
_UNANSWERED = Head(b"")


class Kind:
    """What events of one stream with one status and rate share: the part of their frames, and their counters.

    ``counted``: protocol and status code, as the counters have them. ``waiting_s``: how long those took that are not
    counted yet.
    """

    __slots__ = ("counted", "made_for", "meters", "needs_thought", "part", "waiting_s")

    def __init__(
        self,
        *,
        part: bytes,
        meters: StreamMeters,
        counted: tuple[str, int],
        needs_thought: bool,
        made_for: CapturePolicy,
    ) -> None:
        self.part = part
        self.meters: StreamMeters = meters
        self.counted = counted
        self.needs_thought = needs_thought
        self.made_for = made_for
        self.waiting_s: list[float] = []


class Capture:
    """Makes one event of each inference."""

    def __init__(self, spool: RecorderClient, meters: Meters, policy: CapturePolicy) -> None:
        self._spool = spool
        self._meters = meters
        self._kinds: dict[tuple[Route, int, str, float], Kind] = {}
        self._call_kinds: dict[tuple[Route, int, int, int | None, str, float], Kind] = {}
        self._request_parts: dict[_Types, bytes] = {}
        self._response_parts: dict[_Types, bytes] = {}
        # What is not counted yet: records, what was reserved for each, who is told of it, and the kinds they are of.
        self._made: list[Record] = []
        self._made_sizes: list[int] = []
        self._made_receipts: list[StreamMeters] = []
        self._waiting_kinds: list[Kind] = []
        #: Calls over HTTP/2: each, when it ended, and what was reserved for it.
        self._noted_calls: list[tuple[EndedCall, float, int]] = []
        spool.before_batch = meters.before_collect = self.settle
        self.follow(policy)

    def follow(self, policy: CapturePolicy) -> None:
        """Go by this policy from the next inference on."""
        self.settle()
        self._policy = policy
        self._kinds.clear()
        self._call_kinds.clear()

    def record_whole(self, exchange: Exchange, head: Head, body: bytes, now_s: float) -> None:
        """As ``record``, for an inference whose answer came whole: with this head and this body.

        Its record is made here, and counted with the others of its batch.
        """
        asked: Head
        request: Half
        kind: Kind
        duration_s: float
        size_bytes: int
        answer_bytes: int
        held: int
        kind = head.kind
        if kind is None or head.kind_route is not exchange.route or kind.made_for is not self._policy:
            kind = self._kind_of(head, exchange)
        duration_s = now_s - exchange.started_s
        if kind.needs_thought:
            kept = self._kept_kind(exchange, head, body, duration_s)
            if kept is None:
                return
            kind = kept
        request = exchange.request
        spool = self._spool
        answer_bytes = len(body)
        size_bytes = RECORD_BYTES
        size_bytes += request.seen_bytes + answer_bytes
        held = spool.buffered_bytes + size_bytes
        if request.truncated or answer_bytes > exchange.room_bytes:
            self._record_slowly(exchange, head, body, now_s)
            return
        if held < spool.calm_below_bytes:
            spool.buffered_bytes = held
        elif not spool.reserve(size_bytes):
            self._record_slowly(exchange, head, body, now_s)
            return
        asked = request.head
        trace = exchange.traceparent
        asked_body = request.whole
        duration_ms = duration_s * 1e3
        record = (
            kind.part,
            exchange.event_id,
            exchange.request_id,
            exchange.time_ns,
            duration_ms,
            duration_ms,
            False,
            (trace is None and asked.event_part) or self._request_part(asked, trace),
            asked_body if asked_body is not None else _captured_body(request),
            head.event_part or self._response_part(head),
            body,
        )
        waiting_s = kind.waiting_s
        if not waiting_s:
            self._waiting_kinds.append(kind)
        waiting_s.append(duration_s)
        self._made.append(record)
        self._made_sizes.append(size_bytes)
        self._made_receipts.append(kind.meters)

    def settle(self) -> None:
        """Count what waits to be counted, and hand it over."""
        if self._made:
            self._settle_made()
        if self._noted_calls:
            self._settle_calls()

    def _settle_made(self) -> None:
        records, self._made = self._made, []
        sizes, self._made_sizes = self._made_sizes, []
        receipts, self._made_receipts = self._made_receipts, []
        kinds, self._waiting_kinds = self._waiting_kinds, []
        kind: Kind
        for kind in kinds:  # all of its own at once
            kind.meters.answered_many(kind.counted, kind.waiting_s)
            kind.waiting_s = []
        bytes_out = sum(map(len, map(_ANSWER, records)))
        self._meters.bytes_out += bytes_out
        self._meters.bytes_in += sum(sizes) - bytes_out - RECORD_BYTES * len(records)
        self._spool.add(records, sizes, receipts)

    def _kept_kind(self, exchange: Exchange, head: Head, body: bytes, duration_s: float) -> Kind | None:
        """Decide whether it is kept, and at which rate; None: it is not, and is counted."""
        request, route = exchange.request, exchange.route
        assert route is not None  # noqa: S101 - record_whole looked
        rate = self._rate(route, exchange.request_id, head.status >= 500, duration_s, request.head)
        key = (route, head.status, head.variant or self._policy.variant, rate)
        kind = self._kinds.get(key) or self._kind(*key)
        if rate:
            return kind
        self._count(kind, duration_s, request.seen_bytes, len(body), rate)
        return None

    def _count(self, kind: Kind, duration_s: float, bytes_in: int, bytes_out: int, rate: float) -> bool:
        """Count an inference; returns whether it is kept."""
        kind.meters.answered(kind.counted, duration_s)
        self._meters.bytes_in += bytes_in
        self._meters.bytes_out += bytes_out
        if not rate:
            kind.meters.sampled_out += 1
        return bool(rate)

    def _rate(self, route: Route, request_id: str, failed: bool, duration_s: float, asked: Described) -> float:
        """The rate at which an inference is kept; 0.0: it is not."""
        sampler = self._policy.sampler_of(route.model)
        return sampler.kept_rate(request_id, failed=failed, duration_s=duration_s, headers=asked.headers) or 0.0

    def _stream_failed(self, route: Route, parts: Sequence[bytes]) -> bool:
        """Whether a stream of events told of an error, where anything depends on it."""
        return not self._policy.sampler_of(route.model).keeps_all and tells_error(parts)

    def _record_slowly(self, exchange: Exchange, head: Head, body: bytes, now_s: float) -> None:
        exchange.status = head.status
        exchange.first_byte_s = now_s
        exchange.response.begin(exchange.room_bytes)
        exchange.response.head = head
        exchange.response.append(body)
        self.record(exchange, now_s)
        exchange.response.begin(0)

    def _kind_of(self, head: Head, exchange: Exchange) -> Kind:
        """The kind of an answer that is kept at the rate 1, remembered beside its head."""
        route = exchange.route
        assert route is not None  # noqa: S101 - whoever calls looked
        key = (route, head.status, head.variant or self._policy.variant, 1.0)
        head.kind = kind = self._kinds.get(key) or self._kind(*key)
        head.kind_route = route
        return kind

    def record(self, exchange: Exchange, now_s: float) -> None:
        """Count a finished inference and log it. ``now_s``: monotonic seconds."""
        route = exchange.route
        if route is None:
            return
        self.settle()  # so that the records of a connection keep their order
        status, request, response = exchange.status, exchange.request, exchange.response
        variant = response.head.variant or self._policy.variant
        duration_s = now_s - exchange.started_s
        failed = status >= 500 or (response.arrivals is not None and self._stream_failed(route, response.parts))
        rate = self._rate(route, exchange.request_id, failed, duration_s, request.head)
        kind = self._kinds.get((route, status, variant, rate)) or self._kind(route, status, variant, rate)
        if not self._count(kind, duration_s, request.seen_bytes, response.seen_bytes, rate):
            return
        if response.arrivals is None:
            request_body, response_body = _captured_body(request), _captured_body(response)
            size = body_bytes(request_body) + body_bytes(response_body) + RECORD_BYTES
            record: Record = (
                kind.part,
                exchange.event_id,
                exchange.request_id,
                exchange.time_ns,
                duration_s * 1e3,
                ((exchange.first_byte_s or now_s) - exchange.started_s) * 1e3,
                request.truncated or response.truncated,
                self._request_part(request.head, exchange.traceparent),
                request_body,
                response.head.event_part or self._response_part(response.head),
                response_body,
            )
        else:
            record = self._captured(exchange, now_s, variant, rate)
            size = request.seen_bytes + response.seen_bytes + RECORD_BYTES
        self._put(record, size, kind.meters)

    def note_call(self, ended: EndedCall, size_bytes: int, now_s: float) -> None:
        """As ``record_whole``, for a call over HTTP/2 that has ended; ``size_bytes``: of its bodies."""
        size_bytes += RECORD_BYTES
        if self._spool.reserve(size_bytes):
            self._noted_calls.append((ended, now_s, size_bytes))
            return
        call = ended.described()
        if call is not None:
            self.record_call(call, now_s)

    def _settle_calls(self) -> None:
        noted, self._noted_calls = self._noted_calls, []
        records: list[Record] = []
        receipts: list[StreamMeters] = []
        sizes: list[int] = []
        for ended, now_s, size_bytes in noted:
            call = ended.described()
            taken = None if call is None else self._taken_call(call, now_s)
            if taken is None:
                self._spool.release(size_bytes)
                continue
            records.append(taken[0])
            receipts.append(taken[1])
            sizes.append(size_bytes)
        self._spool.add(records, sizes, receipts)

    def record_call(self, call: Call, now_s: float) -> None:
        """Count a finished call over HTTP/2 and log it. ``now_s``: monotonic seconds."""
        self.settle()  # so that the records of a connection keep their order
        taken = self._taken_call(call, now_s)
        if taken is None:
            return
        self._put(taken[0], len(call.request_body) + len(call.response_body) + RECORD_BYTES, taken[1])

    def _put(self, record: Record, size_bytes: int, stream: StreamMeters) -> None:
        if not self._spool.put(record, size_bytes, stream):
            stream.drop(REASON_BUFFER_FULL)

    def _taken_call(self, call: Call, now_s: float) -> tuple[Record, StreamMeters] | None:
        """Count a call; returns its record and who is told of it, None where it is sampled out."""
        duration_s = now_s - call.started_s
        failed = call.code >= 500 or bool(call.stream_error)
        failed = failed or (bool(call.arrivals) and self._stream_failed(call.route, (call.response_body,)))
        rate = self._rate(call.route, call.request_id, failed, duration_s, call.request_head)
        variant = call.variant or self._policy.variant
        key = (call.route, call.code, call.status_code, call.grpc_status, variant, rate)
        kind = self._call_kinds.get(key) or self._call_kind(*key)
        if not self._count(kind, duration_s, call.request_bytes, call.response_bytes, rate):
            return None
        if (
            call.chunk_count
            or call.request_notes
            or call.response_notes
            or call.not_observable
            or call.stream_error
            or call.arrivals
        ):
            return self._captured_call(call, duration_s, variant, rate), kind.meters
        request, response = call.request_head, call.response_head or _UNANSWERED
        record = (
            kind.part,
            call.event_id,
            call.request_id,
            call.time_ns,
            duration_s * 1e3,
            ((call.first_byte_s or now_s) - call.started_s) * 1e3,
            call.truncated,
            self._request_part(request, request.traceparent),
            call.request_body,
            response.event_part or self._response_part(response),
            call.response_body,
        )
        return record, kind.meters

    def lose_call(self, route: Route, duration_s: float, reason: str) -> None:
        """Count an inference that was received and is not captured: nobody knows how it ends."""
        stream = self._meters.stream(route.model, route.version, self._policy.variant, CODE_UNSEEN)
        stream.answered((route.protocol, CODE_UNSEEN), duration_s)
        stream.drop(reason)

    def _captured_call(self, call: Call, duration_s: float, variant: str, rate: float) -> Record:
        """The frame of a call that does not take the fast path."""
        policy, head = self._policy, call.request_head
        captured = Captured(
            **policy.stream_of(call.route, variant, rate),
            id=call.event_id,
            time_ns=call.time_ns,
            request_id=id_text(call.request_id),
            status_code=call.status_code,
            grpc_status=call.grpc_status,
            duration_ms=duration_s * 1e3,
            ttfb_ms=((call.first_byte_s - call.started_s) if call.first_byte_s else duration_s) * 1e3,
            metadata=dict(policy.metadata),
            truncated=call.truncated,
            traceparent=head.traceparent,
            chunk_count=call.chunk_count,
            ttft_ms=(call.first_message_s - call.started_s) * 1e3 if call.first_message_s else 0.0,
            stream_error=call.stream_error,
            not_observable=call.not_observable,
            request=_payload(head, call.request_body, call.request_notes),
            response=_payload(call.response_head or _UNANSWERED, call.response_body, call.response_notes),
            arrivals=call.arrivals,
        )
        return _whole(captured)

    def _captured(self, exchange: Exchange, now_s: float, variant: str, rate: float) -> Record:
        """The frame of an event that does not take the fast path."""
        request, response, route, policy = exchange.request, exchange.response, exchange.route, self._policy
        assert route is not None  # noqa: S101 - record looked
        captured = Captured(
            **policy.stream_of(route, variant, rate),
            id=exchange.event_id,
            time_ns=exchange.time_ns,
            request_id=id_text(exchange.request_id),
            status_code=exchange.status,
            duration_ms=(now_s - exchange.started_s) * 1e3,
            ttfb_ms=((exchange.first_byte_s or now_s) - exchange.started_s) * 1e3,
            metadata=dict(policy.metadata),
            truncated=request.truncated or response.truncated,
            traceparent=exchange.traceparent,
            not_observable=shares_memory(route.protocol, request.body, request.seen_bytes),
            request=_payload(request.head, request.body),
            response=_payload(response.head, response.body),
            arrivals=[(end, (at_s - exchange.started_s) * 1e3) for end, at_s in response.arrivals or ()],
        )
        return _whole(captured)

    def _kind(self, route: Route, status: int, variant: str, rate: float) -> Kind:
        kind = self._made_kind(route, status, variant, rate, status_code=status)
        _remember(self._kinds, (route, status, variant, rate), kind, route)
        return kind

    def _call_kind(
        self, route: Route, code: int, status_code: int, grpc_status: int | None, variant: str, rate: float
    ) -> Kind:
        said: dict[str, int] = {} if grpc_status is None else {"grpc_status": grpc_status}
        kind = self._made_kind(route, code, variant, rate, status_code=status_code, **said)
        _remember(self._call_kinds, (route, code, status_code, grpc_status, variant, rate), kind, route)
        return kind

    def _made_kind(self, route: Route, code: int, variant: str, rate: float, **statuses: int) -> Kind:
        policy = self._policy
        said: dict[str, Mapping[str, str]] = {"metadata": policy.metadata} if policy.metadata else {}
        part = stream_part(**policy.stream_of(route, variant, rate or math.nan), **statuses, **said)
        meters = self._meters.stream(route.model, route.version, variant, code)
        return Kind(
            part=part,
            meters=meters,
            counted=(route.protocol, code),
            needs_thought=not policy.sampler_of(route.model).keeps_all,
            made_for=policy,
        )

    def _request_part(self, head: Described, traceparent: str | None) -> bytes:
        part = head.event_part or self._part(head, self._request_parts, request_part)
        return part if traceparent is None else traced(part, traceparent)

    def _response_part(self, head: Described) -> bytes:
        return self._part(head, self._response_parts, response_part)

    def _part(self, head: Described, known: dict[_Types, bytes], make: Callable[[Payload], bytes]) -> bytes:
        if head.headers:
            head.event_part = make(_payload(head, b""))
            return head.event_part
        # Heads whose request id differs, or the date, are still described alike.
        types = (head.content_type, head.content_encoding)
        part = known.get(types)
        if part is None:
            if len(known) >= _MAX_KINDS:
                known.clear()
            part = known[types] = make(_payload(head, b""))
        head.event_part = part
        return part


def _whole(captured: Captured) -> Record:
    """The record of an event that is handed over as a whole: as it is, or to be folded where it came in pieces."""
    frame = encode_captured(captured)
    return (frame,) if captured.arrivals else frame


def _captured_body(half: Half) -> Body:
    """The captured part of a body; where it is large and came in pieces they are not joined."""
    if half.whole is not None:
        return half.whole
    parts = half.parts
    if len(parts) == 1:
        return parts[0]
    return tuple(parts) if sum(map(len, parts)) >= LARGE_BODY_BYTES else b"".join(parts)


def _remember(kinds: dict[_Key, Kind], key: _Key, kind: Kind, route: Route) -> None:
    if kind.meters.model != route.model:
        return  # one that counts as "other" may have counters of its own the next time
    if len(kinds) >= _MAX_KINDS:
        kinds.clear()
    kinds[key] = kind


def _payload(head: Described, body: bytes, notes: Mapping[str, str] = _NO_NOTES) -> Payload:
    headers = {**head.headers, **notes} if notes else head.headers
    return Payload(content_type=head.content_type, content_encoding=head.content_encoding, headers=headers, body=body)
