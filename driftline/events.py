"""The inference event and the label: what travels between the rooms, and its two wire forms.

*Frame*: one msgpack value, as the sidecar appends it to the spool. Making it costs about a microsecond and never looks
inside a body, because it is made on the request path.
*Kafka message*: a CloudEvent 1.0 in Kafka binary mode (headers ``ce_*``, JSON value, key = request id). A body that is
JSON is embedded byte for byte; any other is base64. Made and read away from the request path.

>>> event = InferenceEvent(id="1", source="/ns/app/pod", model="iris", time_ns=0, request_id="r1", protocol="v2",
...     status_code=200, request=Payload(content_type="application/json", body=b'{"a": 1}'), response=Payload())
>>> message = encode_inference(event)
>>> decode_inference(message.headers, message.value) == event
True
>>> decode_frame(encode_frame(event)) == event
True
"""

import base64
import binascii
import functools
import operator
import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from driftline import names
from driftline.errors import EventError
from driftline.header_texts import common_headers, written_time
from driftline.message_fields import Fields, KafkaHeaders
from driftline.native import native_module


class KafkaMessage(NamedTuple):
    """What a producer needs: headers, key and value."""

    headers: list[tuple[str, bytes]]
    key: bytes
    value: bytes


class InferenceMessage(NamedTuple):
    """A ``KafkaMessage`` of an inference, with when that arrived: ``time_ns``, nanoseconds since the epoch."""

    headers: list[tuple[str, bytes]]
    key: bytes
    value: bytes
    time_ns: int

    @property
    def time_s(self) -> float:
        """Arrival in seconds since the epoch."""
        return self.time_ns / 1e9


# A msgspec Struct, not a dataclass: one is made for every request, and it is five times cheaper to make and to write.
class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One half of an inference: the body as it was on the wire, with what is needed to read it later."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, str] = {}
    body: bytes = b""


class InferenceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One inference: request, response and how it went.

    ``time_ns``: arrival of the request, nanoseconds since the epoch, on the clock of the deployment.
    ``duration_ms``, ``ttfb_ms``: first request byte to last and first response byte, on a monotonic clock.
    ``sample_rate``: the rate, in (0, 1], at which events like this one are kept.
    ``truncated``: a body was longer than the capture limit and is cut.
    ``chunk_count``: messages of a streamed answer, which is folded into one body; 0 where it was not a stream.
    ``ttft_ms``: first request byte to the first piece of generated content of a stream; 0 where there was none.
    ``stream_error``: the error that a stream reported under a status that says success; one line.
    ``not_observable``: why the payload holds no data for anybody but client and server ("shared_memory"), else empty.
    ``redacted``: something was taken out of headers or bodies before they were written down.
    ``answer_unknown``: the answer was not logged: ``response`` is empty and ``status_code`` 0.
    ``metadata``: what the sidecar's settings say of all its events, by name: team, region, image.
    """

    id: str
    source: str
    model: str
    time_ns: int
    request_id: str
    protocol: str
    status_code: int
    request: Payload
    response: Payload
    model_version: str = ""
    variant: str = "stable"
    namespace: str = "default"
    grpc_status: int | None = None
    duration_ms: float = 0.0
    ttfb_ms: float = 0.0
    sample_rate: float = 1.0
    truncated: bool = False
    traceparent: str | None = None
    chunk_count: int = 0
    ttft_ms: float = 0.0
    stream_error: str = ""
    not_observable: str = ""
    redacted: bool = False
    answer_unknown: bool = False
    metadata: dict[str, str] = {}

    @property
    def time_s(self) -> float:
        """Arrival in seconds since the epoch."""
        return self.time_ns / 1e9


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What turned out to be true for one row of one inference.

    The inference is named by ``request_id``, or by ``key``: a business key (an order number, say) that the monitor
    finds in every request. ``row``: index of the row within the request; a key that is itself per row needs none.
    ``value`` None withdraws an earlier label. ``observed_at_s``: when the truth was known, seconds since the epoch;
    None: when the label arrives.
    ``reward``: ``value`` is a number that says how good the answer was, not what was true; the monitor says what it
    means.
    """

    value: str | float | int | bool | None
    observed_at_s: float | None = None
    model: str
    request_id: str = ""
    namespace: str = "default"
    row: int = 0
    key: str = ""
    reward: bool = False

    @property
    def subject(self) -> str:
        """What the label names its inference by."""
        return self.request_id or self.key


_frame_encoder = msgspec.msgpack.Encoder()
_frame_decoder = msgspec.msgpack.Decoder(InferenceEvent)


def new_event_id(time_ns: int, getrandbits: Callable[[int], int] = random.getrandbits) -> str:
    """A UUID version 7 (RFC 9562): sortable by time, 74 random bits."""
    value = ((time_ns // 1_000_000) & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | getrandbits(12) << 64 | 0b10 << 62 | getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def encode_frame(event: InferenceEvent) -> bytes:
    """The event as the spool keeps it."""
    return _frame_encoder.encode(event)


def decode_frame(data: bytes) -> InferenceEvent:
    """Read what :func:`encode_frame` wrote; raises EventError."""
    try:
        event = _frame_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EventError("spool frame", [str(error)]) from error
    if faults := _nul_faults(event):
        raise EventError("spool frame", faults)
    return event


# --- Kafka binary mode --------------------------------------------------------------------------------------------
_SPEC_VERSION = ("ce_specversion", b"1.0")
_TYPE_INFERENCE = ("ce_type", names.CE_TYPE_INFERENCE.encode())
_TYPE_LABEL = ("ce_type", names.CE_TYPE_LABEL.encode())
_CONTENT_TYPE = ("content-type", b"application/json")


def encode_inference(event: InferenceEvent) -> KafkaMessage:
    """The event as a CloudEvent in Kafka binary mode."""
    named, described, kept = common_headers(
        event.source,
        event.model,
        event.model_version,
        event.namespace,
        event.variant,
        event.protocol,
        event.status_code,
        event.sample_rate,
        event.truncated,
    )
    key = event.request_id.encode()
    headers = [
        _SPEC_VERSION,
        _TYPE_INFERENCE,
        ("ce_id", event.id.encode()),
        *named,
        ("ce_time", written_time(event.time_ns)),
        ("ce_requestid", key),
        *described,
        ("ce_durationms", repr(event.duration_ms).encode()),
        ("ce_ttfbms", repr(event.ttfb_ms).encode()),
        *kept,
        *_rare_headers(event),
        _CONTENT_TYPE,
    ]
    value = b"".join((b'{"request":', *_half(event.request), b',"response":', *_half(event.response), b"}"))
    return KafkaMessage(headers, key, value)


def _rare_headers(event: InferenceEvent) -> list[tuple[str, bytes]]:
    """What most events say nothing of."""
    said: list[tuple[str, bytes]] = []
    if event.grpc_status is not None:
        said.append(("ce_grpcstatus", b"%d" % event.grpc_status))
    if event.traceparent is not None:
        said.append(("ce_traceparent", event.traceparent.encode()))
    if event.chunk_count:
        said.append(("ce_chunkcount", b"%d" % event.chunk_count))
    if event.ttft_ms:
        said.append(("ce_ttftms", repr(event.ttft_ms).encode()))
    if event.stream_error:
        said.append(("ce_streamerror", event.stream_error.encode()))
    if event.not_observable:
        said.append(("ce_notobservable", event.not_observable.encode()))
    if event.redacted:
        said.append(("ce_redacted", b"true"))
    if event.answer_unknown:
        said.append(("ce_answerunknown", b"true"))
    if event.metadata:
        said.append(("ce_metadata", _json_encoder.encode(event.metadata)))
    return said


def decode_inference(headers: KafkaHeaders, value: bytes) -> InferenceEvent:
    """Read a CloudEvent in Kafka binary mode; raises EventError with every fault found."""
    fields = Fields(headers, names.CE_TYPE_INFERENCE)
    model, _, version = fields.text("subject").partition("/")
    request, response = _decode_halves(value, fields.faults)
    event = InferenceEvent(
        id=fields.text("id"),
        source=fields.text("source"),
        model=model,
        model_version=version,
        time_ns=fields.time_ns("time"),
        request_id=fields.text("requestid"),
        namespace=fields.text("namespace", "default"),
        variant=fields.text("variant", "stable"),
        protocol=fields.text("protocol", ""),
        status_code=fields.whole("statuscode", 0, 999),
        grpc_status=fields.whole("grpcstatus", 0, 999) if fields.has("grpcstatus") else None,
        duration_ms=fields.number("durationms", 0.0),
        ttfb_ms=fields.number("ttfbms", 0.0),
        sample_rate=fields.number("samplerate", 1.0),
        truncated=fields.text("truncated", "false") == "true",
        traceparent=fields.text("traceparent", "") or None,
        chunk_count=fields.whole("chunkcount", 0, 2**63 - 1) if fields.has("chunkcount") else 0,
        ttft_ms=fields.number("ttftms", 0.0),
        stream_error=fields.text("streamerror", ""),
        not_observable=fields.text("notobservable", ""),
        redacted=fields.text("redacted", "false") == "true",
        answer_unknown=fields.text("answerunknown", "false") == "true",
        metadata=fields.texts("metadata"),
        request=request,
        response=response,
    )
    if not 0.0 < event.sample_rate <= 1.0:
        fields.faults.append(f"ce_samplerate '{event.sample_rate}' is outside (0, 1]")
    fields.faults.extend(_nul_faults(event))
    fields.raise_if_faulty(f"inference event '{event.id}'")
    return event


def encode_label(label: Label, event_id: str) -> KafkaMessage:
    """The label as a CloudEvent in Kafka binary mode, keyed like the inference it belongs to."""
    source = f"/{label.namespace}/{label.model}"
    headers = [_SPEC_VERSION, _TYPE_LABEL, ("ce_id", event_id.encode()), ("ce_source", source.encode())]
    if label.request_id:
        headers.append(("ce_requestid", label.request_id.encode()))
    return KafkaMessage([*headers, _CONTENT_TYPE], label.subject.encode(), msgspec.json.encode(label))


def decode_label(headers: KafkaHeaders, value: bytes) -> Label:
    """Read a label message; raises EventError. A label that says no time of its own was observed at its ``ce_time``."""
    fields = Fields(headers, names.CE_TYPE_LABEL)
    fields.raise_if_faulty("label")
    label = label_from_json(value)
    if label.observed_at_s is None and fields.has("time"):
        label = msgspec.structs.replace(label, observed_at_s=fields.time_ns("time") / 1e9)
        fields.raise_if_faulty(f"label for '{label.subject}'")
    return label


def label_from_json(value: bytes) -> Label:
    """Read one label from JSON; raises EventError naming the field and the value."""
    try:
        label = msgspec.json.decode(value, type=Label)
    except msgspec.MsgspecError as error:
        raise EventError("label", [str(error)]) from error
    faults = label_faults(label)
    if faults:
        raise EventError(f"label for '{label.subject}'", faults)
    return label


#: Digits of a number that a message shows: one may have thousands.
_SHOWN = 40


def label_faults(label: Label) -> list[str]:
    """Everything wrong with a label's values (its types are checked on reading)."""
    faults = []
    if not label.request_id and not label.key:
        faults.append("request_id is empty, and there is no key in its place")
    if label.request_id and label.key:
        faults.append(f"request_id '{label.request_id}' and key '{label.key}' are both given; one says which inference")
    if label.reward and (label.value is None or isinstance(label.value, str)):
        faults.append(f"value {label.value!r} is not a number, which a reward must be")
    if not label.model:
        faults.append("model is empty")
    if not 0 <= label.row < 2**31:
        faults.append(f"row {label.row} is {'below 0' if label.row < 0 else 'above 2147483647'}")
    faults.extend(_nul_faults(label))
    if isinstance(label.value, float) and not abs(label.value) < float("inf"):
        faults.append(f"value {label.value} is not a finite number")
    if isinstance(label.value, int) and abs(label.value) >= 2**63:
        faults.append(f"value {str(label.value)[:_SHOWN]} does not fit into 64 bits; send it as a text")
    if label.observed_at_s is not None and not 0 <= label.observed_at_s < 253402300800.0:
        faults.append(f"observed_at_s {label.observed_at_s} is not a time in seconds since 1970")
    return faults


# No database column of text can hold a NUL, and no name needs one.
_EVENT_TEXTS = ("id", "source", "model", "model_version", "request_id", "protocol", "variant", "namespace")
_LABEL_TEXTS = ("request_id", "key", "model", "namespace", "value")
_event_texts = operator.attrgetter(*_EVENT_TEXTS)


def _nul_faults(thing: InferenceEvent | Label) -> list[str]:
    if isinstance(thing, InferenceEvent) and "\0" not in "".join(_event_texts(thing)):
        return []  # one look at all of them: every reader of every event pays for it
    texts = _EVENT_TEXTS if isinstance(thing, InferenceEvent) else _LABEL_TEXTS
    values = ((name, getattr(thing, name)) for name in texts)
    return [f"{name} {value!r} holds a NUL" for name, value in values if isinstance(value, str) and "\0" in value]


# --- helpers ------------------------------------------------------------------------------------------------------
_NO_BODY = msgspec.Raw(b"")


class _Half(msgspec.Struct, omit_defaults=True):
    contenttype: str | None = None
    contentencoding: str | None = None
    headers: dict[str, str] = {}
    body: msgspec.Raw = _NO_BODY
    bodybase64: str | None = None


class HalfBeginnings(NamedTuple):
    """How a half of the value is written up to its body: as JSON, as base64; all of it where there is no body.

    ``json``: None where a body is under a coding, and so is never JSON.
    """

    json: bytes | None
    base64: bytes
    empty: bytes


class _Halves(msgspec.Struct):
    request: _Half
    response: _Half


_halves_decoder = msgspec.json.Decoder(_Halves)
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_json_encoder = msgspec.json.Encoder(order="sorted")
_SPACES = b" \t\n\r\x0b\x0c"
_kernel = native_module("driftline.message_kernel")


def _half(payload: Payload) -> tuple[bytes, ...]:
    """One half of the value, in pieces; a body that is JSON is one of them as it is."""
    body = payload.body
    is_plain = not payload.headers and body
    if is_plain and payload.content_encoding is None and _is_json(body):
        return _before_json_body(payload.content_type), body, b"}"
    half = _Half(contenttype=payload.content_type, contentencoding=payload.content_encoding, headers=payload.headers)
    if body and payload.content_encoding is None and _is_json(body):
        half.body = msgspec.Raw(body)
    elif body:
        half.bodybase64 = base64.b64encode(body).decode()
    return (msgspec.json.encode(half),)


@functools.lru_cache(maxsize=64)
def _before_json_body(content_type: str | None) -> bytes:
    return half_beginnings(Payload(content_type=content_type)).json or b""


def half_beginnings(payload: Payload) -> HalfBeginnings:
    """How halves of the value begin that are described as this one is, whatever their bodies are."""
    half = _Half(contenttype=payload.content_type, contentencoding=payload.content_encoding, headers=payload.headers)
    empty = msgspec.json.encode(half)
    half.body = msgspec.Raw(b"0")
    before_json = msgspec.json.encode(half).removesuffix(b"0}")
    half.body, half.bodybase64 = _NO_BODY, ""
    before_base64 = msgspec.json.encode(half).removesuffix(b'"}')
    return HalfBeginnings(before_json if payload.content_encoding is None else None, before_base64, empty)


def _is_json(body: bytes) -> bool:
    """Whether a body, which is not empty, is a document of JSON and nothing else."""
    if _kernel is not None:
        return bool(_kernel.is_json(body))
    # Surrounding space would be lost on reading; such bodies travel as base64, so that every byte comes back.
    if body[0] in _SPACES or body[-1] in _SPACES:
        return False
    try:
        _raw_decoder.decode(body)  # the grammar alone, without making anything of it; texts may be no UTF-8 yet
        return body.isascii() or bool(body.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _decode_halves(value: bytes, faults: list[str]) -> tuple[Payload, Payload]:
    try:
        halves = _halves_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        faults.append(f"value is not the JSON of an inference: {error}")
        return Payload(), Payload()
    return _decode_payload("request", halves.request, faults), _decode_payload("response", halves.response, faults)


def _decode_payload(name: str, half: _Half, faults: list[str]) -> Payload:
    body = b""
    if bytes(half.body):
        body = bytes(half.body)
    elif half.bodybase64 is not None:
        try:
            body = base64.b64decode(half.bodybase64, validate=True)
        except (binascii.Error, ValueError) as error:
            faults.append(f"{name}.bodybase64 is not base64: {error}")
    return Payload(
        content_type=half.contenttype, content_encoding=half.contentencoding, headers=half.headers, body=body
    )
