"""From an exchange to an inference event in the spool: sampled, redacted, and counted exactly once."""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from driftline.events import Payload
from logger_sidecar.event_frames import frame, request_part, response_part, stream_part
from logger_sidecar.exchange import Exchange
from logger_sidecar.heads import Head
from logger_sidecar.meters import Meters, StreamMeters
from logger_sidecar.routes import Route
from logger_sidecar.spool_writer import REASON_SPOOL_FULL, SpoolWriter

#: The client left before its answer was complete; nginx's word for it.
STATUS_CLIENT_GONE = 499
_MAX_KINDS = 1024
#: Content type and content encoding.
_Types = tuple[str | None, str | None]

#: Sees the captured headers of one half and returns those that may be kept.
Redactor = Callable[[Mapping[str, str]], dict[str, str]]


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether this request is one of the share ``rate``: the same answer for the same id, wherever it is asked.

    The first 8 bytes of the id's BLAKE2b, read as a fraction of 2**64, are below the rate.
    """
    if rate >= 1.0:
        return True
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2.0**64


class _Kind(NamedTuple):
    """What events of one stream with one status share: the part of their frames, and their counters."""

    part: bytes
    meters: StreamMeters


class Capture:
    """Makes one event of each inference. ``redactor`` None keeps the headers as the allow-list chose them."""

    def __init__(
        self,
        spool: SpoolWriter,
        meters: Meters,
        *,
        source: str,
        namespace: str,
        variant: str,
        sample_rate: float,
        redactor: Redactor | None = None,
    ) -> None:
        self._spool = spool
        self._meters = meters
        self._source = source
        self._namespace = namespace
        self._variant = variant
        self._sample_rate = sample_rate
        self._redactor = redactor
        self._kinds: dict[tuple[Route, int, str], _Kind] = {}
        self._request_parts: dict[_Types, bytes] = {}
        self._response_parts: dict[_Types, bytes] = {}

    def record(self, exchange: Exchange, now_s: float) -> None:
        """Count a finished inference and log it. ``now_s``: monotonic seconds."""
        route = exchange.route
        if route is None:
            return
        status, request, response = exchange.status, exchange.request, exchange.response
        variant = response.head.variant or self._variant
        meters = self._meters
        kind = self._kinds.get((route, status, variant)) or self._kind(route, status, variant)
        stream = kind.meters
        started_s = exchange.started_s
        duration_s = now_s - started_s
        stream.answered(route.protocol, status, duration_s)
        meters.bytes_in += request.seen_bytes
        meters.bytes_out += response.seen_bytes
        rate = self._sample_rate
        # Errors of the server are always kept.
        if rate < 1.0 and status < 500 and not is_sampled(exchange.request_id, rate):
            stream.sampled_out += 1
            return
        request_parts, response_parts = request.parts, response.parts
        payload = frame(
            kind.part,
            exchange.event_id,
            exchange.request_id,
            exchange.time_ns,
            duration_s * 1e3,
            ((exchange.first_byte_s or now_s) - started_s) * 1e3,
            request.truncated or response.truncated,
            request.head.event_part or self._request_part(request.head),
            request_parts[0] if len(request_parts) == 1 else b"".join(request_parts),
            response.head.event_part or self._response_part(response.head),
            response_parts[0] if len(response_parts) == 1 else b"".join(response_parts),
        )
        if not self._spool.append(payload, stream):
            stream.drop(REASON_SPOOL_FULL)

    def _kind(self, route: Route, status: int, variant: str) -> _Kind:
        part = stream_part(
            source=self._source,
            model=route.model,
            model_version=route.version,
            variant=variant,
            namespace=self._namespace,
            protocol=route.protocol,
            status_code=status,
            sample_rate=1.0 if status >= 500 else self._sample_rate,
        )
        kind = _Kind(part, self._meters.stream(route.model, route.version, variant, status))
        if kind.meters.model == route.model:  # one that counts as "other" may have counters of its own the next time
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            self._kinds[route, status, variant] = kind
        return kind

    def _request_part(self, head: Head) -> bytes:
        return self._part(head, self._request_parts, lambda: request_part(head.traceparent, self._described(head)))

    def _response_part(self, head: Head) -> bytes:
        return self._part(head, self._response_parts, lambda: response_part(self._described(head)))

    def _part(self, head: Head, known: dict[_Types, bytes], make: Callable[[], bytes]) -> bytes:
        if head.headers or head.traceparent is not None:
            head.event_part = make()
            return head.event_part
        # Heads whose request id differs, or the date, are still described alike.
        types = (head.content_type, head.content_encoding)
        part = known.get(types)
        if part is None:
            if len(known) >= _MAX_KINDS:
                known.clear()
            part = known[types] = make()
        head.event_part = part
        return part

    def _described(self, head: Head) -> Payload:
        headers = head.headers
        if headers and self._redactor is not None:
            headers = self._redactor(headers)
        return Payload(content_type=head.content_type, content_encoding=head.content_encoding, headers=headers)
