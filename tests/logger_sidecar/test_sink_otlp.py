"""Spans of inferences, read back by a collector that knows nothing of driftline but OpenTelemetry's own protobuf."""

import gzip
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.proto", reason="opentelemetry-proto is not installed (extra otlp)")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, Payload
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.otlp_spans import is_wanted, span_of
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_otlp import OtlpSink
from logger_sidecar.shipping.sink_urls import parse
from logger_sidecar.shipping.sinks import open_sink

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Receiver:
    """A collector that answers as told and keeps what it understood."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        self.status, self.answer = 200, b""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                assert self.headers["content-encoding"] == "gzip"
                receiver.paths.append(self.path)
                receiver.requests.append(ExportTraceServiceRequest.FromString(gzip.decompress(body)))
                self.send_response(receiver.status)
                self.send_header("content-length", str(len(receiver.answer)))
                self.end_headers()
                self.wfile.write(receiver.answer)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"otlp+http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def spans(self) -> list[Span]:
        scopes = [scope for request in self.requests for each in request.resource_spans for scope in each.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def event(number: int = 1, **changes: Any) -> InferenceEvent:
    given: dict[str, Any] = {
        "id": f"event-{number}",
        "source": "/shop/ranker/ranker-7d4f",
        "model": "iris",
        "time_ns": 1_700_000_000_000_000_000,
        "request_id": f"r{number}",
        "protocol": "v2",
        "status_code": 200,
        "duration_ms": 12.5,
        "ttfb_ms": 3.25,
        "traceparent": SAMPLED,
        "request": Payload(),
        "response": Payload(),
        **changes,
    }
    return InferenceEvent(**given)


def attributes(of: Any) -> dict[str, Any]:
    found = {}
    for pair in of.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [each.string_value for each in value.values] if kind == "array_value" else value
    return found


def sink(receiver: Receiver, options: str = "", **environ: str) -> OtlpSink:
    return OtlpSink(parse(f"{receiver.url}{options}"), environ)


def test_a_collector_sees_each_inference_below_its_callers_span(receiver: Receiver) -> None:
    assert (
        sink(receiver, OTEL_RESOURCE_ATTRIBUTES="team=red").deliver(
            [event(1), event(2, variant="canary", metadata={"team": "red"})]
        )
        == {}
    )
    first, second = receiver.spans
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    assert first.kind == Span.SPAN_KIND_SERVER
    assert first.end_time_unix_nano - first.start_time_unix_nano == 12_500_000
    assert first.start_time_unix_nano == 1_700_000_000_000_000_000
    assert len({first.span_id, second.span_id}) == 2
    assert len(first.span_id) == 8
    assert [(moment.name, moment.time_unix_nano - first.start_time_unix_nano) for moment in first.events] == [
        ("first byte", 3_250_000)
    ]
    found = attributes(second)
    assert found["driftline.variant"] == "canary"
    assert found["driftline.request_id"] == "r2"
    assert found["driftline.metadata.team"] == "red"
    assert found["http.response.status_code"] == 200
    assert first.status.code == Status.STATUS_CODE_UNSET
    (resource,) = [each.resource for each in receiver.requests[0].resource_spans]
    assert attributes(resource) == {
        "service.name": "ranker",
        "service.namespace": "shop",
        "service.instance.id": "ranker-7d4f",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "ranker-7d4f",
        "team": "red",
    }
    assert receiver.paths == ["/v1/traces"]


def test_an_event_delivered_twice_is_one_span() -> None:
    assert span_of(event()).SerializeToString() == span_of(event()).SerializeToString()


@pytest.mark.parametrize(
    ("traceparent", "wanted"),
    [(SAMPLED, {"sampled", "traced", "all"}), (NOT_SAMPLED, {"traced", "all"}), (None, {"all"}), ("x", {"all"})],
)
def test_which_events_become_spans_is_a_setting(traceparent: str | None, wanted: set[str]) -> None:
    found = {which for which in ("sampled", "traced", "all") if is_wanted(event(traceparent=traceparent), which)}
    assert found == wanted


def test_events_that_are_no_spans_are_not_sent(receiver: Receiver) -> None:
    made = sink(receiver)
    assert made.deliver([event(traceparent=None)]) == {}
    assert receiver.requests == []
    assert made.deliver([event(1, traceparent=None), event(2)]) == {}
    assert [attributes(span)["driftline.request_id"] for span in receiver.spans] == ["r2"]


def test_a_span_without_a_trace_has_a_trace_of_its_own() -> None:
    one, other = span_of(event(1, traceparent=None)), span_of(event(2, traceparent="malformed"))
    assert len(one.trace_id) == len(other.trace_id) == 16
    assert one.trace_id != other.trace_id
    assert (one.parent_span_id, one.flags) == (b"", 0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status_code": 503}, "503"),
        ({"status_code": 404}, None),
        ({"status_code": 499}, None),
        ({"stream_error": "overloaded"}, "stream_error"),
        ({"grpc_status": 13}, "13"),
        ({"grpc_status": 3}, None),
        ({"grpc_status": 0}, None),
    ],
)
def test_only_what_blames_the_server_is_an_error(changes: dict[str, Any], error: str | None) -> None:
    span = span_of(event(**changes))
    assert (span.status.code == Status.STATUS_CODE_ERROR) == (error is not None)
    assert attributes(span).get("error.type") == error
    assert attributes(span).get("rpc.grpc.status_code") == changes.get("grpc_status")


def test_generative_inferences_carry_the_conventions_of_generative_ai() -> None:
    request = Payload(content_type="application/json", body=b'{"model": "llama", "messages": []}')
    usage = b'{"prompt_tokens": 7, "completion_tokens": 3}'
    answer = b'{"id": "c1", "model": "llama-3", "choices": [{"finish_reason": "stop"}], "usage": %b}' % usage
    found = span_of(event(protocol="openai", request=request, response=Payload(body=answer), ttft_ms=5.0))
    said = {key: value for key, value in attributes(found).items() if key.startswith("gen_ai.")}
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "llama",
        "gen_ai.response.id": "c1",
        "gen_ai.response.model": "llama-3",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert [moment.name for moment in found.events] == ["first byte", "first token"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"model": 5}', b"\xff\xfe", b"\x1f\x8b\x08"])
def test_bodies_that_are_not_what_they_should_be_give_a_span_without_them(body: bytes) -> None:
    span = span_of(event(protocol="openai", request=Payload(body=body), response=Payload(body=body)))
    assert not any(key.startswith("gen_ai.usage") for key in attributes(span))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_collector_that_is_not_well_is_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(UnavailableError, match=str(status)):
        sink(receiver).deliver([event()])


def test_a_collector_that_is_away_is_tried_again(receiver: Receiver) -> None:
    made = sink(receiver)
    receiver.close()
    with pytest.raises(UnavailableError):
        made.deliver([event()])


def test_what_a_collector_refuses_for_good_is_counted(receiver: Receiver) -> None:
    receiver.status = 400
    assert sink(receiver).deliver([event(1), event(2, traceparent=None), event(3)]) == {0: "http_400", 2: "http_400"}


def test_what_a_collector_rejects_of_a_batch_is_counted(receiver: Receiver) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    receiver.answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert list(sink(receiver).deliver([event(1), event(2)]).values()) == ["rejected"]


def test_an_answer_that_is_no_protobuf_is_an_answer_all_the_same(receiver: Receiver) -> None:
    receiver.answer = b"<html>ok</html>"
    assert sink(receiver).deliver([event()]) == {}


def test_the_sink_is_one_of_those_that_settings_name() -> None:
    assert SidecarSettings(sinks=("kafka", "otlp+http://collector:4318?spans=all")).validate() == []
    faults = SidecarSettings(sinks=("otlp+http://collector:4318?spans=some",)).validate()
    assert "spans is 'some'; it must be one of sampled, traced, all" in faults[0]
    made = open_sink(parse("otlp+http://collector/custom?name=spans"), ShipperSettings())
    assert (made.name, isinstance(made, OtlpSink)) == ("spans", True)
