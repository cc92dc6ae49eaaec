"""From an exchange to an inference event in the spool: sampled, redacted, and counted exactly once."""

import hashlib
from collections.abc import Callable, Mapping

from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.exchange import Exchange, Half
from logger_sidecar.meters import Meters
from logger_sidecar.spool_writer import REASON_SPOOL_FULL, SpoolWriter

#: The client left before its answer was complete; nginx's word for it.
STATUS_CLIENT_GONE = 499

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

    def record(self, exchange: Exchange, now_s: float) -> None:
        """Count a finished inference and log it. ``now_s``: monotonic seconds."""
        route = exchange.route
        if route is None:
            return
        status, request, response = exchange.status, exchange.request, exchange.response
        variant = response.head.variant or self._variant
        meters = self._meters
        stream = meters.stream(route.model, route.version, variant, status)
        duration_s = now_s - exchange.started_s
        stream.answered(route.protocol, status, duration_s)
        meters.bytes_in += request.seen_bytes
        meters.bytes_out += response.seen_bytes
        rate = 1.0 if status >= 500 else self._sample_rate  # errors are always kept
        if rate < 1.0 and not is_sampled(exchange.request_id, rate):
            stream.sampled_out += 1
            return
        event = InferenceEvent(
            id=exchange.event_id,
            source=self._source,
            model=route.model,
            model_version=route.version,
            variant=variant,
            namespace=self._namespace,
            time_ns=exchange.time_ns,
            request_id=exchange.request_id,
            protocol=route.protocol,
            status_code=status,
            duration_ms=duration_s * 1e3,
            ttfb_ms=(exchange.first_byte_s - exchange.started_s) * 1e3 if exchange.first_byte_s else duration_s * 1e3,
            sample_rate=rate,
            truncated=request.truncated or response.truncated,
            traceparent=request.head.traceparent,
            request=self._payload(request),
            response=self._payload(response),
        )
        if not self._spool.append(encode_frame(event), stream):
            stream.drop(REASON_SPOOL_FULL)

    def _payload(self, half: Half) -> Payload:
        head, parts = half.head, half.parts
        headers = head.headers
        if headers and self._redactor is not None:
            headers = self._redactor(headers)
        return Payload(
            content_type=head.content_type,
            content_encoding=head.content_encoding,
            headers=headers,
            body=parts[0] if len(parts) == 1 else b"".join(parts),
        )
