"""Spans of the collector's work, as the SDK exports them."""

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collector.api.app import create_app
from collector.batches.loop import Collector
from collector.batches.replay import Replayer
from collector.labels.desk import LabelDesk
from collector.labels.uploads import UploadDesk
from collector.operating.otel import OtelTracing, to_endpoint
from driftline.errors import UnavailableError
from driftline.testing import ListSource
from tests.collector.helpers import Parts, batched, decode, drain, event, records
from tests.collector.test_api import FixedHealth, as_json

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Traced:
    """Tracing, and the spans that were exported."""

    def __init__(self, maximum_links: int = 8) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = OtelTracing(SimpleSpanProcessor(self._exporter), maximum_links)

    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans() if span.name == name]
        return found


def collector_of(parts: Parts, source: Any, traced: Traced) -> Collector:
    collector = parts.collector_of(source)
    collector._tracing = traced.tracing
    return collector


def with_traces(count: int) -> list[Any]:
    return [
        msgspec.structs.replace(event(number), traceparent=f"00-{TRACE}-{number + 1:016x}-01")
        for number in range(count)
    ]


def test_a_batch_has_its_steps_as_children_and_links_to_a_bounded_number_of_requests(parts: Parts) -> None:
    traced = Traced(maximum_links=3)
    drain(collector_of(parts, ListSource(records(with_traces(5)), parts.store.position), traced))
    batch = traced.named("batch")
    assert batch.attributes == {"driftline.collector.records": 5}
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [f"{number:016x}" for number in (1, 2, 3)]
    assert {f"{link.context.trace_id:032x}" for link in batch.links} == {TRACE}
    steps = [
        span for span in traced.spans() if span.parent is not None and span.parent.span_id == batch.context.span_id
    ]
    assert [span.name for span in steps] == ["read", "decode", "commit"]
    assert batch.start_time == steps[0].start_time


def test_an_idle_consumer_makes_no_spans(parts: Parts) -> None:
    traced = Traced()
    collector = collector_of(parts, ListSource([]), traced)
    for _ in range(3):
        collector.run_once()
    assert traced.spans() == ()


def test_what_fails_is_marked_without_saying_what_it_held(parts: Parts) -> None:
    traced = Traced()
    with pytest.raises(UnavailableError), traced.tracing.span("commit"):
        raise UnavailableError("database", "value 'secret' is refused")
    span = traced.named("commit")
    assert (span.status.is_ok, span.status.description) == (False, "UnavailableError")
    assert "secret" not in span.to_json()


def test_a_request_to_the_api_goes_on_with_its_callers_trace_and_its_labels_are_a_child(parts: Parts) -> None:
    traced = Traced()
    drain(parts.collector(records([event(1)])))
    store, settings = parts.store, parts.settings
    desk = LabelDesk(store, parts.statistics, parts.monitors, parts.clock, parts.metrics, traced.tracing)
    uploads = UploadDesk(store, parts.directory / "uploads", parts.clock, 2)
    replayer = Replayer(store, batched(decode), parts.statistics, parts.monitors, parts.clock, settings)
    app = create_app(
        desk,
        store,
        parts.monitors,
        parts.clock,
        parts.registry,
        FixedHealth(),
        settings,
        uploads,
        replayer,
        tracing=traced.tracing,
    )
    client = TestClient(app)
    client.post("/v1/labels", json=as_json(1), headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    request, labels = traced.named("POST /v1/labels"), traced.named("labels")
    assert request.parent is not None
    assert (request.parent.span_id, request.context.trace_id) == (0x00F067AA0BA902B7, int(TRACE, 16))
    assert request.attributes == {"driftline.collector.status": 200}
    assert labels.parent == request.context
    client.get("/v1/deadletters/secret-partition/7")
    assert "secret-partition" not in "".join(span.to_json() for span in traced.spans())


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-0", f"00-{TRACE}-0000000000000000-01"])
def test_malformed_trace_context_is_ignored(traceparent: str) -> None:
    traced = Traced()
    with traced.tracing.span("batch", links=[traceparent], parent=traceparent):
        pass
    assert traced.named("batch").links == ()
    assert traced.named("batch").parent is None


def test_spans_arrive_at_an_endpoint_by_otlp() -> None:
    bodies: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        tracing = to_endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1/traces", 4)
        with tracing.span("batch", {"records": 2}):
            pass
        tracing.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
    (request,) = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    (scope,) = request.resource_spans[0].scope_spans
    assert [span.name for span in scope.spans] == ["batch"]
    assert "driftline-collector" in str(request.resource_spans[0].resource)
