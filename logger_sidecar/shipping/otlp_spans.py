"""An inference as a span of OpenTelemetry, in OTLP's protobuf form.

Ids are made from the event's, so that an event that is delivered twice is one span. Sources: OTLP 1.x
(opentelemetry-proto, trace.proto) and the semantic conventions of HTTP, RPC, generative AI, service and Kubernetes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from driftline import __version__
from driftline.events import InferenceEvent, Payload
from logger_sidecar.shipping.resources import resource_attributes
from logger_sidecar.traces import TraceParent, parse_traceparent

#: Which events become spans: those of sampled traces, those of any trace, or all.
Which = Literal["sampled", "traced", "all"]
_SCOPE = InstrumentationScope(name="driftline.sidecar", version=__version__)
# Codes that blame the server (semantic conventions for RPC spans of kind SERVER): unknown, deadline exceeded,
# unimplemented, internal, unavailable, data loss.
_SERVER_FAULTS = frozenset({2, 4, 12, 13, 14, 15})
_SAMPLED = 0x1
#: The parent is known to be another process's span (trace.proto, SpanFlags).
_PARENT_IS_REMOTE = 0x300
_MAX_BODY_BYTES = 1024 * 1024

_T = TypeVar("_T")
_Value = str | int | float | bool | list[str]


def is_wanted(event: InferenceEvent, which: Which) -> bool:
    """Whether this event becomes a span."""
    if which == "all":
        return True
    parent = parse_traceparent(event.traceparent)
    return parent is not None and (parent.is_sampled or which == "traced")


def export_request(events: Sequence[InferenceEvent], environ: Mapping[str, str]) -> ExportTraceServiceRequest:
    """The events as one request, a resource per source. ``environ``: for OTEL_RESOURCE_ATTRIBUTES."""
    by_source: dict[str, list[Span]] = {}
    for event in events:
        by_source.setdefault(event.source, []).append(span_of(event))
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_key_values(resource_attributes(environ, _resource(source)))),
                scope_spans=[ScopeSpans(scope=_SCOPE, spans=spans)],
            )
            for source, spans in by_source.items()
        ]
    )


def span_of(event: InferenceEvent) -> Span:
    """The event as a span of kind SERVER below the span that its request named."""
    parent = parse_traceparent(event.traceparent)
    fault = _fault(event)
    span = Span(
        trace_id=_trace_id(event, parent),
        span_id=hashlib.blake2b(event.id.encode(), digest_size=8).digest(),
        name=f"inference {event.model}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=event.time_ns,
        end_time_unix_nano=event.time_ns + round(event.duration_ms * 1e6),
        attributes=_key_values({**_attributes(event), **_gen_ai(event), **({"error.type": fault} if fault else {})}),
        events=_moments(event),
        status=Status(code=Status.STATUS_CODE_ERROR, message=event.stream_error) if fault else None,
    )
    if parent is not None:
        span.parent_span_id = bytes.fromhex(parent.span_id)
        span.flags = _PARENT_IS_REMOTE | (_SAMPLED if parent.is_sampled else 0)
    return span


def _trace_id(event: InferenceEvent, parent: TraceParent | None) -> bytes:
    if parent is not None:
        return bytes.fromhex(parent.trace_id)
    return hashlib.blake2b(event.request_id.encode(), digest_size=16).digest()


def _fault(event: InferenceEvent) -> str:
    """What ``error.type`` says; empty where the server did its work."""
    if event.grpc_status is not None:
        return str(event.grpc_status) if event.grpc_status in _SERVER_FAULTS else ""
    if event.status_code >= 500:
        return str(event.status_code)
    return "stream_error" if event.stream_error else ""


def _attributes(event: InferenceEvent) -> dict[str, _Value]:
    found: dict[str, _Value] = {
        "http.response.status_code": event.status_code,
        "driftline.request_id": event.request_id,
        "driftline.event_id": event.id,
        "driftline.protocol": event.protocol,
        "driftline.model": event.model,
        "driftline.variant": event.variant,
        "driftline.sample_rate": event.sample_rate,
    }
    if event.model_version:
        found["driftline.model_version"] = event.model_version
    if event.grpc_status is not None:
        found |= {"rpc.system": "grpc", "rpc.grpc.status_code": event.grpc_status}
    if event.chunk_count:
        found["driftline.chunk_count"] = event.chunk_count
    for name in ("truncated", "redacted"):
        if getattr(event, name):
            found[f"driftline.{name}"] = True
    found |= {f"driftline.metadata.{name}": value for name, value in event.metadata.items()}
    return found


def _moments(event: InferenceEvent) -> list[Span.Event]:
    moments = (("first byte", event.ttfb_ms), ("first token", event.ttft_ms))
    return [
        Span.Event(name=name, time_unix_nano=event.time_ns + round(after_ms * 1e6))
        for name, after_ms in moments
        if after_ms
    ]


# --- generative AI ------------------------------------------------------------------------------------------------
_NOT_GIVEN = msgspec.Raw(b"")


class _Asked(msgspec.Struct):
    model: str = ""
    messages: msgspec.Raw = _NOT_GIVEN
    prompt: msgspec.Raw = _NOT_GIVEN
    input: msgspec.Raw = _NOT_GIVEN


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answered(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    choices: list[_Choice] = []


def _gen_ai(event: InferenceEvent) -> dict[str, _Value]:
    if event.protocol != "openai":
        return {}
    found: dict[str, _Value] = {}
    asked, answered = _read(event.request, _Asked), _read(event.response, _Answered)
    if asked is not None:
        kinds = {"chat": asked.messages, "text_completion": asked.prompt, "embeddings": asked.input}
        found["gen_ai.operation.name"] = next((kind for kind, given in kinds.items() if bytes(given)), "chat")
        found["gen_ai.request.model"] = asked.model or event.model
    if answered is not None:
        found |= _answer(answered)
    return found


def _answer(answered: _Answered) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    if answered.id:
        found["gen_ai.response.id"] = answered.id
    if answered.model:
        found["gen_ai.response.model"] = answered.model
    usage = answered.usage or _Usage()
    for name, tokens in (("input", usage.prompt_tokens), ("output", usage.completion_tokens)):
        if tokens is not None:
            found[f"gen_ai.usage.{name}_tokens"] = tokens
    reasons = [choice.finish_reason for choice in answered.choices if choice.finish_reason]
    if reasons:
        found["gen_ai.response.finish_reasons"] = reasons
    return found


def _read(payload: Payload, kind: type[_T]) -> _T | None:
    if payload.content_encoding or len(payload.body) > _MAX_BODY_BYTES:
        return None
    try:
        return msgspec.json.decode(payload.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _resource(source: str) -> dict[str, str]:
    """What an event's source, ``/NAMESPACE/WORKLOAD/POD``, says in OpenTelemetry's words."""
    parts = [*source.split("/"), "", "", ""]
    namespace, workload, pod = parts[1:4]
    own_pod = pod if pod != workload else ""
    return {
        "service.name": workload,
        "service.namespace": namespace,
        "service.instance.id": pod,
        "k8s.namespace.name": namespace if own_pod else "",
        "k8s.pod.name": own_pod,
    }


def _key_values(attributes: Mapping[str, _Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in attributes.items()]


def _any(value: _Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_any(each) for each in value]))
    return AnyValue(string_value=value)
