"""What an HTTP request holds: a CloudEvent in binary or structured mode, a batch, or a payload of ModelMesh."""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from collector.sources.cloud_event import CloudEvent, batch_from_json, from_json, header_value, looks_like
from driftline import names
from driftline.errors import EventError

BATCH_TYPE = "application/cloudevents-batch"
EVENT_TYPE = "application/cloudevents"
_PREFIX = "ce-"
_GZIP = b"\x1f\x8b"


def read_request(
    headers: Sequence[tuple[str, str]],
    query: Mapping[str, str],
    body: bytes,
    received_ns: int,
    limit_bytes: int,
) -> list[CloudEvent]:
    """The events of a request; raises EventError that names what is wrong.

    ``headers``: names in lower case. ``query``: ``namespace`` and ``model`` stand in for attributes that are missing.
    ``limit_bytes``: what an envelope may unpack to.
    """
    fields = dict(headers)
    content_type = fields.get("content-type", "").strip().lower()
    # The content type is that of the logged request, so it may be anything; attributes in headers settle the mode.
    if f"{_PREFIX}id" in fields or not (content_type.startswith(EVENT_TYPE) or looks_like(body)):
        return [_with_query(_binary(fields, body, received_ns), query)]
    document = _plain(body, fields.get("content-encoding"), limit_bytes)
    is_batch = content_type.startswith(BATCH_TYPE) or looks_like(document) == "batch"
    read = batch_from_json if is_batch else _one_from_json
    return [_with_query(event, query) for event in read(document, received_ns)]


def _one_from_json(document: bytes, received_ns: int) -> list[CloudEvent]:
    return [from_json(document, received_ns)]


def _binary(fields: Mapping[str, str], body: bytes, received_ns: int) -> CloudEvent:
    attributes = {
        name[len(_PREFIX) :]: header_value(name[len(_PREFIX) :], _as_utf8(value))
        for name, value in fields.items()
        if name.startswith(_PREFIX)
    }
    if names.HEADER_TRACEPARENT in fields:
        attributes.setdefault("traceparent", fields[names.HEADER_TRACEPARENT])
    return CloudEvent(
        attributes=attributes,
        body=body,
        content_type=fields.get("content-type"),
        content_encoding=fields.get("content-encoding"),
        binary_length=fields.get(names.HEADER_BINARY_LENGTH),
        received_ns=received_ns,
    )


def _as_utf8(value: str) -> str:
    """Headers are read as Latin-1; senders that do not encode write UTF-8."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return value


def _with_query(event: CloudEvent, query: Mapping[str, str]) -> CloudEvent:
    given = {"namespace": query.get("namespace"), "inferenceservicename": query.get("model")}
    missing = {name: value for name, value in given.items() if value and not event.text(name)}
    return msgspec.structs.replace(event, attributes={**event.attributes, **missing}) if missing else event


def _plain(body: bytes, encoding: str | None, limit_bytes: int) -> bytes:
    if body[:2] != _GZIP:
        return body
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise EventError("CloudEvent", [f"the body says gzip ({encoding}) and is not: {error}"]) from error
    if len(plain) > limit_bytes:
        raise EventError("CloudEvent", [f"the body unpacks to more than {limit_bytes} bytes"])
    return plain


# --- ModelMesh ----------------------------------------------------------------------------------------------------
class _Payload(msgspec.Struct, rename={"model_id": "modelid", "virtual_model": "vModelId"}):
    id: str
    model_id: str
    kind: str
    data: str | None = None
    virtual_model: str | None = None
    status: str | None = None
    metadata: dict[str, str] | None = None


_read_payload = msgspec.json.Decoder(_Payload)


def read_modelmesh(
    body: bytes, query: Mapping[str, str], received_ns: int, *, event_id: str, sender: str = ""
) -> CloudEvent:
    """What ModelMesh's payload processor posts, as a CloudEvent; raises EventError.

    The body is the protobuf message of the V2 protocol without a gRPC frame. The virtual model is the InferenceService;
    without one, the name is what the controller put before its marks. A payload's id is a thread's number and a count,
    the same in every pod and after every restart: it joins both halves of one ``sender``; ``event_id`` is ours.
    """
    try:
        payload = _read_payload.decode(body)
        data = base64.b64decode(payload.data or "", validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("ModelMesh payload", [str(error)]) from error
    except (binascii.Error, ValueError) as error:
        raise EventError("ModelMesh payload", [f"data is not base64: {error}"]) from error
    kind = payload.kind.lower()  # the name of a Java enumeration in some versions
    if kind not in {"request", "response"}:
        raise EventError("ModelMesh payload", [f"kind '{payload.kind[:40]}' is neither request nor response"])
    attributes = {
        "specversion": "1.0",
        "type": f"org.kubeflow.serving.inference.{kind}",
        "id": event_id,
        "requestid": f"{sender}/{payload.id}" if sender else payload.id,
        "source": "modelmesh",
        "inferenceservicename": query.get("model") or payload.virtual_model or payload.model_id.split("__")[0],
        "namespace": query.get("namespace", ""),
        "protocol": "grpc",
    }
    if kind == "response" and (payload.status or "OK").upper() not in {"OK", "0"}:
        attributes["grpcstatus"] = _grpc_status(payload.status or "")
    if payload.metadata:
        attributes["metadata"] = msgspec.json.encode(payload.metadata).decode()
    attributes = {name: value for name, value in attributes.items() if value}
    return CloudEvent(attributes=attributes, body=data, content_type="application/protobuf", received_ns=received_ns)


#: In the order of their numbers.
_GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def _grpc_status(text: str) -> str:
    if text.isascii() and text.isdigit():
        return text
    word = text.upper()
    return str(_GRPC_CODES.index(word) if word in _GRPC_CODES else _GRPC_CODES.index("UNKNOWN"))
