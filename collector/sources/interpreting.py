"""What a CloudEvent means: half an inference, a whole one of ours, a label, feedback, or nothing to us.

Senders differ; these rules serve all of them. The join key is ``requestid``, else ``id`` (KServe shares one id between
both halves, Seldon's ids are fresh). The model is the ``inferenceservicename``, in older agents ``inferenceservice``.
What else is logged under the same name has a model of its own: a KServe component that is no predictor is
``NAME.COMPONENT``; a node of a Seldon graph is ``NAME.NODE`` where a monitor is called so, else ``NAME``.
"""

import re
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import msgspec

from collector.sources.cloud_event import CloudEvent
from driftline import names
from driftline.errors import EventError
from driftline.events import Label, Payload, decode_inference, decode_label
from driftline.halves import Half, Kind
from driftline.message_fields import KafkaHeaders, parse_time_ns
from driftline.records import Ignored, One, Several

#: Labels out of the body of a feedback event: body, namespace, model, request id, time in seconds.
FeedbackReader = Callable[[bytes, str, str, str, float], Sequence[Label]]

_INFERENCE = re.compile(r"(?:\A|\.)inference\.(request|response)\Z")
_FEEDBACK = re.compile(r"\A(?:io\.seldon|org\.kubeflow)\.serving\.feedback\Z")
_PROTOCOLS = {"tensorflow": "v1", "v1": "v1", "v2": "v2", "kfserving": "v2", "seldon": "seldon", "grpc": "grpc"}
#: Seldon's name for the only predictor.
_ONLY_VARIANT = "default"
#: When it happened, when KServe's agent sent it, when Knative's broker took it: brokers try again minutes later.
_TIMES = ("time", "recordedtime", "knativearrivaltime")
_LOOK_BYTES = 4 * 1024 * 1024


class Interpreter:
    """Reads CloudEvents as far as their attributes go; bodies are left as they are.

    ``monitored``: the names of all monitors, ``namespace/model``.
    """

    def __init__(self, monitored: Collection[str], read_feedback: FeedbackReader) -> None:
        self._monitored = frozenset(monitored)
        self._read_feedback = read_feedback

    def read(self, event: CloudEvent) -> One | Several:
        """What the event holds; raises EventError that names every attribute that is wrong."""
        kind = event.text("type")
        if kind == names.CE_TYPE_INFERENCE:
            return decode_inference(_kafka_headers(event), event.body)
        if kind == names.CE_TYPE_LABEL:
            return decode_label(_kafka_headers(event), event.body)
        if not event.text("id"):
            raise EventError("CloudEvent", ["ce-id is missing"])
        if _FEEDBACK.match(kind):
            return self._feedback(event)
        found = _INFERENCE.search(kind)
        if found is not None:
            return self._half(event, "request" if found[1] == "request" else "response")
        # TrustyAI's senders leave the type out; the body tells a request from an answer.
        if not kind:
            return self._half(event, _kind_of(event.body))
        return Ignored(kind[:100])

    # --- halves ---------------------------------------------------------------------------------------------------
    def _half(self, event: CloudEvent, kind: Kind) -> Half:
        faults: list[str] = []
        namespace = event.text("namespace") or "default"
        service = event.text("inferenceservicename") or event.text("inferenceservice")
        metadata = _metadata(event)
        half = Half(
            kind=kind,
            id=event.text("id"),
            source=event.text("source"),
            type=event.text("type"),
            request_id=event.text("requestid") or event.text("id"),
            model=self._model(namespace, service, event),
            answered_model=answered_model(event.body) if kind == "response" and not service else "",
            time_ns=_time_ns(event, faults),
            payload=_payload(event, metadata if kind == "request" else {}),
            namespace=namespace,
            variant=_variant(event.text("endpoint")),
            stamp=event.text("time"),
            scope="/".join((event.text("component"), event.text("modelid"))),
            protocol=_protocol(event),
            status_code=_status(event, "statuscode", 200, faults),
            grpc_status=_status(event, "grpcstatus", None, faults),
            traceparent=event.text("traceparent") or metadata.get("traceparent"),
            metadata=metadata,
        )
        for name, value in (
            ("id", half.id),
            ("requestid", half.request_id),
            ("model", half.model),
            ("source", half.source),
        ):
            if "\0" in value:
                faults.append(f"{name} {value!r} holds a NUL")
        if faults:
            raise EventError(f"CloudEvent '{half.id}'", faults)
        return half

    def _model(self, namespace: str, service: str, event: CloudEvent) -> str:
        component = event.text("component")
        if component and component != "predictor" and service:
            return f"{service}.{component}"
        node = event.text("modelid")
        if node and node != service and f"{namespace}/{service}.{node}" in self._monitored:
            return f"{service}.{node}"
        return service

    # --- feedback -------------------------------------------------------------------------------------------------
    def _feedback(self, event: CloudEvent) -> Several:
        faults: list[str] = []
        namespace = event.text("namespace") or "default"
        service = event.text("inferenceservicename") or event.text("inferenceservice")
        time_s = _time_ns(event, faults) / 1e9
        if not service:
            faults.append("ce-inferenceservicename is missing")
        if faults:
            raise EventError(f"feedback '{event.text('id')}'", faults)
        request_id = event.text("requestid") or event.text("id")
        model = self._model(namespace, service, event)
        return Several(tuple(self._read_feedback(event.body, namespace, model, request_id, time_s)))


def _kafka_headers(event: CloudEvent) -> KafkaHeaders:
    return [(f"ce_{name}", value.encode("utf-8", "replace")) for name, value in event.attributes.items()]


def _variant(endpoint: str) -> str:
    return "stable" if endpoint in {"", _ONLY_VARIANT} else endpoint


def _protocol(event: CloudEvent) -> str:
    if (event.content_type or "").lower().startswith("application/grpc"):
        return "grpc"
    return _PROTOCOLS.get(event.text("protocol").lower(), "")


def _payload(event: CloudEvent, metadata: dict[str, str]) -> Payload:
    # Where a logger was told to keep headers, what it would have lost is among them.
    length = event.binary_length or metadata.get(names.HEADER_BINARY_LENGTH)
    return Payload(
        content_type=event.content_type,
        content_encoding=event.content_encoding or metadata.get("content-encoding"),
        headers={names.HEADER_BINARY_LENGTH: length} if length else {},
        body=event.body,
    )


def _time_ns(event: CloudEvent, faults: list[str]) -> int:
    name = next((name for name in _TIMES if event.text(name)), None)
    if name is None:
        return event.received_ns
    try:
        return parse_time_ns(event.text(name))
    except ValueError:
        faults.append(f"ce-{name} '{event.text(name)[:60]}' is not an RFC 3339 time")
        return 0


def _status(event: CloudEvent, name: str, default: int | None, faults: list[str]) -> Any:
    text = event.text(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 999):
        faults.append(f"ce-{name} '{text[:60]}' is not a status")
        return default
    return int(text)


def _metadata(event: CloudEvent) -> dict[str, str]:
    """Headers and annotations that the logger was told to send: one text per name, names in lower case."""
    found: dict[str, str] = {}
    for name in ("metadata", "annotations"):
        text = event.text(name)
        if not text:
            continue
        try:
            read = msgspec.json.decode(text, type=dict[str, Any] | None)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found[name] = text  # not worth an inference
            continue
        for key, value in (read or {}).items():
            values = value if isinstance(value, list) else [value]
            found[key.lower()] = ", ".join(one if isinstance(one, str) else str(one) for one in values)
    return found


# --- bodies that must say what headers do not ---------------------------------------------------------------------
_ABSENT = msgspec.Raw(b"")


class _Shape(msgspec.Struct):
    model_name: str | None = None
    inputs: msgspec.Raw = _ABSENT
    instances: msgspec.Raw = _ABSENT
    outputs: msgspec.Raw = _ABSENT
    predictions: msgspec.Raw = _ABSENT
    choices: msgspec.Raw = _ABSENT


_read_shape = msgspec.json.Decoder(_Shape)


def _shape(body: bytes) -> _Shape | None:
    if body[:2] == b"\x1f\x8b":
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, _LOOK_BYTES)
        except zlib.error:
            return None
    try:
        return _read_shape.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def answered_model(body: bytes) -> str:
    """The model that an answer of the V2 protocol names; empty where it names none."""
    shape = _shape(body)
    return "" if shape is None else shape.model_name or ""


def _kind_of(body: bytes) -> Literal["request", "response"]:
    shape = _shape(body)
    if shape is None:
        raise EventError("CloudEvent", ["ce-type is missing, and the body is no JSON object that would tell"])
    if any(map(bytes, (shape.outputs, shape.predictions, shape.choices))):
        return "response"
    if any(map(bytes, (shape.inputs, shape.instances))):
        return "request"
    raise EventError("CloudEvent", ["ce-type is missing, and the body has neither inputs nor outputs"])
