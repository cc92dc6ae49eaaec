"""What a message of Kafka holds, whoever wrote it.

Recognised per message, unless its topic is said to be of one kind: CloudEvents in binary mode (headers ``ce_*``), in
structured mode and in batches (content type), Seldon v1's logger (the same names without ``ce_``) and Seldon v2's
topics (header ``seldon-infer-type``, or a name like ``seldon.NAMESPACE.model.NAME.inputs``).
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from collector.sources.cloud_event import CloudEvent, batch_from_json, from_json, looks_like
from collector.sources.http_modes import BATCH_TYPE, EVENT_TYPE
from collector.sources.interpreting import Interpreter
from driftline import names
from driftline.errors import EventError
from driftline.events import Payload
from driftline.halves import Half
from driftline.message_fields import KafkaHeaders
from driftline.records import Content, Ignored, Malformed, One, Several

TopicKind = Literal["any", "cloudevents", "seldon-v1", "seldon-v2"]
MALFORMED = "malformed"
#: When an event came over HTTP into our inbox, in nanoseconds.
HEADER_RECEIVED = "driftline-received"
INFER_TYPE = "seldon-infer-type"
PIPELINE_ERRORS = "seldon-pipeline-errors"

_SELDON_TOPIC = re.compile(
    r"\A.+\.(?P<namespace>[^.]+)\.(?P<what>model|pipeline)\.(?P<name>[^.]+)\.(?P<end>inputs|outputs)\Z"
)
_SELDON_ERRORS = re.compile(r"\A.+\.(?P<namespace>[^.]+)\.errors\.errors\Z")
_CE = "ce_"
_MAXIMUM_INDEXES = 16


class Message(NamedTuple):
    """A message as its reader needs it. ``time_ns``: its timestamp, nanoseconds since the epoch."""

    topic: str
    headers: KafkaHeaders
    key: bytes
    value: bytes
    time_ns: int


def read_message(message: Message, interpreter: Interpreter, kind: TopicKind = "any") -> Content:
    """What the message holds; what breaks its contract comes back as Malformed with its bytes."""
    try:
        return _read(message, interpreter, kind)
    except (EventError, ValueError, OverflowError) as error:
        return Malformed(MALFORMED, f"{message.topic}: {error}", message.value)


def _read(message: Message, interpreter: Interpreter, kind: TopicKind) -> Content:
    fields = {name.lower(): value.decode("utf-8", "replace") for name, value in message.headers if value is not None}
    if not message.value:
        return Ignored("empty message")
    if kind == "seldon-v2" or (kind == "any" and _is_seldon_v2(message.topic, fields)):
        return _seldon_v2(message, fields)
    if kind == "seldon-v1" or (
        kind == "any" and "ce_type" not in fields and "type" in fields and "requestid" in fields
    ):
        return interpreter.read(_seldon_v1(message, fields))
    form = "" if "ce_id" in fields else _form(fields.get("content-type", "").strip().lower(), message.value)
    if form == "batch":
        events = batch_from_json(message.value, message.time_ns)
        return Several(tuple(one for event in events for one in _contents(interpreter, event)))
    if form == "event":
        return interpreter.read(from_json(message.value, message.time_ns))
    return interpreter.read(_binary(message, fields))


def _form(content_type: str, value: bytes) -> Literal["event", "batch", ""]:
    if content_type.startswith(BATCH_TYPE):
        return "batch"
    return "event" if content_type.startswith(EVENT_TYPE) else looks_like(value)


def _contents(interpreter: Interpreter, event: CloudEvent) -> tuple[One, ...]:
    """What one event of a batch holds; one that breaks its contract costs itself only."""
    try:
        found = interpreter.read(event)
    except (EventError, ValueError, OverflowError) as error:
        return (Malformed(MALFORMED, str(error), event.body),)
    return found.contents if isinstance(found, Several) else (found,)


def _binary(message: Message, fields: Mapping[str, str]) -> CloudEvent:
    if not any(name.startswith(_CE) for name in fields):
        known = ", ".join(sorted(fields)[:10]) or "none"
        raise EventError("message", [f"is of no kind that is known here; its headers are: {known}"])
    received = fields.get(HEADER_RECEIVED, "")
    return CloudEvent(
        attributes={name[len(_CE) :]: value for name, value in fields.items() if name.startswith(_CE)},
        body=message.value,
        content_type=fields.get("content-type"),
        content_encoding=fields.get("content-encoding"),
        binary_length=fields.get(names.HEADER_BINARY_LENGTH),
        received_ns=int(received) if received.isascii() and received.isdigit() else message.time_ns,
    )


# --- our own inbox ------------------------------------------------------------------------------------------------
def inbox_message(event: CloudEvent) -> tuple[list[tuple[str, bytes]], bytes]:
    """Headers and key under which the inbox keeps an event: binary mode, both halves of an inference in one place."""
    headers = [(f"{_CE}{name}", value.encode("utf-8", "replace")) for name, value in event.attributes.items()]
    further = {
        "content-type": event.content_type,
        "content-encoding": event.content_encoding,
        names.HEADER_BINARY_LENGTH: event.binary_length,
        HEADER_RECEIVED: str(event.received_ns),
    }
    headers += [(name, value.encode()) for name, value in further.items() if value is not None]
    return headers, (event.text("requestid") or event.text("id")).encode("utf-8", "replace")


# --- Seldon v1 ----------------------------------------------------------------------------------------------------
def _seldon_v1(message: Message, fields: Mapping[str, str]) -> CloudEvent:
    """Seldon's executor sends no id of the event; of one node it logs each half of a request once."""
    attributes = {name: value for name, value in fields.items() if name not in {"content-type", "content-encoding"}}
    attributes.setdefault("id", f"{fields.get('requestid', '')}/{fields.get('modelid', '')}")
    attributes.setdefault("source", message.topic)
    return CloudEvent(
        attributes=attributes,
        body=message.value,
        content_type=fields.get("content-type"),
        content_encoding=fields.get("content-encoding"),
        received_ns=message.time_ns,
    )


# --- Seldon v2 ----------------------------------------------------------------------------------------------------
def _is_seldon_v2(topic: str, fields: Mapping[str, str]) -> bool:
    return INFER_TYPE in fields or PIPELINE_ERRORS in fields or _SELDON_TOPIC.match(topic) is not None


def _seldon_v2(message: Message, fields: Mapping[str, str]) -> Half | Several:
    request_id = fields.get(names.HEADER_REQUEST_ID) or message.key.decode("utf-8", "replace")
    if not request_id:
        raise EventError("message", ["has neither x-request-id nor a key"])
    found = _SELDON_TOPIC.match(message.topic)
    if found is None:
        return _seldon_error(message, fields, request_id)
    is_request = found["end"] == "inputs"
    body = without_schema_id(message.value)
    return Half(
        kind="request" if is_request else "response",
        id=request_id,
        source=message.topic,
        type=fields.get(INFER_TYPE, found["end"]),
        request_id=request_id,
        model=found["name"] if found["what"] == "model" else f"{found['name']}.pipeline",
        namespace=found["namespace"],
        time_ns=message.time_ns,
        protocol="v2" if body[:1] in {b"{", b"["} else "grpc",
        traceparent=fields.get(names.HEADER_TRACEPARENT),
        payload=_seldon_payload(body),
    )


def _seldon_payload(body: bytes) -> Payload:
    kind = "application/json" if body[:1] in {b"{", b"["} else "application/protobuf"
    return Payload(content_type=kind, body=body)


def _seldon_error(message: Message, fields: Mapping[str, str], request_id: str) -> Several:
    """A model that failed: the answer to its input, and to that of the pipeline it was asked for, is an error."""
    found = _SELDON_ERRORS.match(message.topic)
    pipeline, model = fields.get("pipeline", ""), fields.get(PIPELINE_ERRORS, "")
    if found is None or not (pipeline or model):
        raise EventError("message", [f"topic '{message.topic}' is none of a model, a pipeline or their errors"])
    failed = {"errors/model": model}
    # A model that was asked by itself is its own pipeline, and no other is called so.
    if pipeline and pipeline != model:
        failed["errors"] = f"{pipeline.split('.')[0]}.pipeline"
    answers = [
        Half(
            kind="response",
            id=request_id,
            source=message.topic,
            type=kind,
            request_id=request_id,
            model=name,
            namespace=found["namespace"],
            time_ns=message.time_ns,
            status_code=500,
            payload=Payload(body=message.value),
            metadata={"failed": model},
        )
        for kind, name in failed.items()
        if name
    ]
    return Several(tuple(answers))


def without_schema_id(value: bytes) -> bytes:
    """The message behind Confluent's frame: a zero, four bytes of schema id, the indexes of the message's type.

    Neither JSON nor protobuf begins with a zero. Raises ValueError.

    >>> without_schema_id(bytes([0, 0, 0, 0, 7, 0]) + b"rest"), without_schema_id(b"rest")
    (b'rest', b'rest')
    >>> without_schema_id(bytes([0, 0, 0, 0, 7, 4, 2, 0]) + b"rest")
    b'rest'
    """
    if value[:1] != b"\0":
        return value
    count, place = _varint(value, 5)
    count = count >> 1  # zigzag, never below zero
    if count > _MAXIMUM_INDEXES:
        raise ValueError(f"Confluent's frame names {count} indexes")
    for _ in range(count):
        _, place = _varint(value, place)
    return value[place:]


def _varint(value: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(value) and shift < 64:
        byte = value[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("Confluent's frame is cut off")
