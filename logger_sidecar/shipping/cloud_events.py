"""An inference as CloudEvents over HTTP: KServe's two events, or one of our own in binary or structured mode.

Sources: CloudEvents 1.0 and its HTTP protocol binding (3.1.3.2: what of a value is percent-encoded); the events that
KServe's agent posts, which TrustyAI, the detectors of Seldon and Knative's event display read.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from driftline.events import InferenceEvent, Payload, encode_inference

REQUEST_TYPE = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE = "org.kubeflow.serving.inference.response"
STRUCTURED_TYPE = "application/cloudevents+json; charset=utf-8"
# Printable ASCII may stand in a header as it is, except what the binding names: space, the double quote, percent.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True)
class HttpEvent:
    """One POST: its headers and its body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def kserve_events(
    event: InferenceEvent, *, inference_service: str, component: str, sent_at_s: float
) -> tuple[HttpEvent, HttpEvent]:
    """The request and the response as KServe's agent posts them, bodies as they were.

    ``inference_service``: empty takes the workload from the event's source. ``sent_at_s``: seconds since the epoch.
    """
    service = inference_service or workload_of(event)
    request = _half(event, event.request, REQUEST_TYPE, event.time_ns, service, component, sent_at_s)
    completed_ns = event.time_ns + round(event.duration_ms * 1e6)
    return request, _half(event, event.response, RESPONSE_TYPE, completed_ns, service, component, sent_at_s)


def binary_event(event: InferenceEvent) -> HttpEvent:
    """Our own event with its attributes as headers: what goes to Kafka, over HTTP."""
    message = encode_inference(event)
    named = ((name.replace("ce_", "ce-", 1), value.decode()) for name, value in message.headers)
    return HttpEvent(tuple((name, _encoded(value) if "ce-" in name else value) for name, value in named), message.value)


def structured_event(event: InferenceEvent) -> HttpEvent:
    """Our own event as one JSON document."""
    return HttpEvent((("content-type", STRUCTURED_TYPE),), structured_json(event))


def structured_json(event: InferenceEvent) -> bytes:
    """Our own event as one line of JSON; bodies that are JSON stand in it byte for byte."""
    message = encode_inference(event)
    attributes = {name[3:]: value.decode() for name, value in message.headers if name.startswith("ce_")}
    attributes["datacontenttype"] = "application/json"
    head = json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode()
    # A body may hold line breaks between its values; in JSON they are spaces there, and inside a text they are escaped.
    value = message.value.replace(b"\r", b" ").replace(b"\n", b" ")
    return head[:-1] + b',"data":' + value + b"}"


def kserve_record(event: InferenceEvent, half: str, *, inference_service: str, component: str) -> dict[str, Any]:
    """One half as KServe's logger writes it to object stores. ``half``: "request" or "response"."""
    payload = event.request if half == "request" else event.response
    at_ns = event.time_ns + (0 if half == "request" else round(event.duration_ms * 1e6))
    return {
        "url": {},
        "bytes": base64.b64encode(payload.body).decode(),
        "contentType": payload.content_type or "",
        "reqType": REQUEST_TYPE if half == "request" else RESPONSE_TYPE,
        "id": event.id,
        "sourceUri": {"Path": event.source},
        "inferenceService": inference_service or workload_of(event),
        "namespace": event.namespace,
        "component": component,
        "endpoint": event.variant,
        "metadata": _metadata(payload),
        "annotations": event.metadata,
        "certName": "",
        "tlsSkipVerify": False,
        "occurrenceTime": _time(at_ns),
    }


def workload_of(event: InferenceEvent) -> str:
    """The workload in ``/NAMESPACE/WORKLOAD/POD``; the model where the source is something else."""
    parts = event.source.split("/")
    return parts[2] if len(parts) == 4 and not parts[0] and parts[2] else event.model


def _half(
    event: InferenceEvent,
    payload: Payload,
    event_type: str,
    at_ns: int,
    service: str,
    component: str,
    sent_at_s: float,
) -> HttpEvent:
    attributes: Sequence[tuple[str, str | None]] = (
        ("specversion", "1.0"),
        ("type", event_type),
        ("id", event.id),
        ("source", event.source),
        ("time", _time(at_ns)),
        ("recordedtime", _time(int(sent_at_s * 1e9))),
        ("inferenceservicename", service),
        ("namespace", event.namespace),
        ("component", component),
        ("endpoint", event.variant),
        ("requestid", event.request_id),
        ("modelid", event.model),
        ("modelversion", event.model_version or None),
        ("protocol", event.protocol),
        ("statuscode", str(event.status_code)),
        ("grpcstatus", None if event.grpc_status is None else str(event.grpc_status)),
        ("durationms", repr(event.duration_ms)),
        ("samplerate", repr(event.sample_rate)),
        ("truncated", "true" if event.truncated else "false"),
        ("traceparent", event.traceparent),
    )
    headers = [(f"ce-{name}", _encoded(value)) for name, value in attributes if value is not None]
    # As KServe writes it, quotation marks and all: its readers decode JSON and nothing before that.
    headers.append(("ce-metadata", json.dumps(_metadata(payload), separators=(",", ":"))))
    if payload.content_type:
        headers.append(("content-type", _one_line(payload.content_type)))
    if payload.content_encoding:
        headers.append(("content-encoding", _one_line(payload.content_encoding)))
    return HttpEvent(tuple(headers), payload.body)


def _metadata(payload: Payload) -> dict[str, list[str]]:
    return {name: [value] for name, value in payload.headers.items()}


def _encoded(value: str) -> str:
    return quote(value, safe=_PLAIN)


def _one_line(value: str) -> str:
    return "".join(character if " " <= character <= "~" else "?" for character in value)


def _time(time_ns: int) -> str:
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction_ns:09d}Z"
