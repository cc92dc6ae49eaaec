"""The OTLP sink: spans of inferences to an OpenTelemetry collector, as protobuf over HTTP.

``otlp+http://collector`` or ``otlp+https://collector``; port 4318 and path /v1/traces unless the URL has others. What
is tried again and what is not is OTLP's own rule (opentelemetry.io/docs/specs/otlp, "Failures", "Partial success").
"""

import dataclasses
import gzip
import os
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, decode_frame
from logger_sidecar.shipping.cloud_events import HttpEvent
from logger_sidecar.shipping.http_post import Poster
from logger_sidecar.shipping.otlp_spans import Which, export_request, is_wanted
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import BatchBounds

REASON_REJECTED = "rejected"
_PATH = "/v1/traces"
_PORT = 4318
_HEADERS = (("content-type", "application/x-protobuf"), ("content-encoding", "gzip"))
_RETRYABLE = frozenset({429, 502, 503, 504})


def open_sink(url: SinkUrl, _settings: ShipperSettings) -> "OtlpSink":
    """Part of sinks: the sink of this URL; raises SettingsError when its certificates cannot be read."""
    return OtlpSink(url, os.environ)


class OtlpSink:
    """Posts one request per batch. An event that is no span by the option ``spans`` counts as delivered."""

    def __init__(self, url: SinkUrl, environ: Mapping[str, str]) -> None:
        path = url.path if url.path.strip("/") else _PATH
        plain = dataclasses.replace(url, scheme=url.scheme.removeprefix("otlp+"), path=path, port=url.port or _PORT)
        self.name = url.name
        self.bounds = BatchBounds(url.options["batch_events"], url.options["batch_bytes"])
        self._address = plain.address
        self._which: Which = url.options["spans"]
        self._environ = environ
        self._poster = Poster(plain)

    def read(self, frame: bytes) -> InferenceEvent:
        """Part of sinks.Sink."""
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> Mapping[int, str]:
        """Part of sinks.Sink."""
        wanted = [index for index, event in enumerate(events) if is_wanted(event, self._which)]
        if not wanted:
            return {}
        request = export_request([events[index] for index in wanted], self._environ)
        reply = self._poster.post(HttpEvent(_HEADERS, gzip.compress(request.SerializeToString(), 1)))
        if reply.status in _RETRYABLE:
            raise UnavailableError(self.name, f"{self._address} answered {reply.status} {reply.reason}")
        if not 200 <= reply.status < 300:
            return dict.fromkeys(wanted, f"http_{reply.status}")
        # The collector says how many it rejected, not which: the count is right, the places are not.
        return dict.fromkeys(wanted[: _rejected(reply.body)], REASON_REJECTED)

    def close(self) -> None:
        """Part of sinks.Sink."""
        self._poster.renew()


def _rejected(body: bytes) -> int:
    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:
        return 0  # an answer in another form, from a proxy perhaps; 2xx is what counts
