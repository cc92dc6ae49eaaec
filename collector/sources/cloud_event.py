"""A CloudEvent as it was sent: attributes and a body that nobody has looked into yet; and its JSON form."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote

import msgspec

from driftline.errors import EventError

#: Attributes that are JSON themselves; quotes around any other are a habit of old agents.
_JSON_ATTRIBUTES = frozenset({"metadata", "annotations"})
_JSON_STARTS = (b"{", b"[")


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event, whatever it came by; also what an inbox keeps of it.

    ``attributes``: context attributes and extensions by their lower-case names, as texts. ``content_type``,
    ``content_encoding``, ``binary_length``: what the headers said of the body, rightly or not.
    ``received_ns``: when it came, for events that do not say when they happened.
    """

    attributes: dict[str, str]
    body: bytes = b""
    content_type: str | None = None
    content_encoding: str | None = None
    binary_length: str | None = None
    received_ns: int = 0

    def text(self, name: str) -> str:
        """An attribute, empty where there is none."""
        return self.attributes.get(name, "")


_read_event = msgspec.msgpack.Decoder(CloudEvent)
_write_event = msgspec.msgpack.Encoder()


def encode_cloud_event(event: CloudEvent) -> bytes:
    """The event as an inbox of bytes keeps it."""
    return _write_event.encode(event)


def decode_cloud_event(data: bytes) -> CloudEvent:
    """Read what :func:`encode_cloud_event` wrote; raises EventError."""
    try:
        return _read_event.decode(data)
    except msgspec.MsgspecError as error:
        raise EventError("inbox entry", [str(error)]) from error


# --- values of headers --------------------------------------------------------------------------------------------
def header_value(name: str, value: str) -> str:
    """The value of an attribute that came as a header: percent-encoded or not, in quotes or not.

    The binding asks for percent-encoding; Go's SDK leaves quotes and spaces as they are, and then encodes nothing.

    >>> header_value("metadata", '{"X-Rate":["5%20"]}') == header_value("metadata", "{%22X-Rate%22:[%225%2520%22]}")
    True
    >>> header_value("inferenceservice", '"flights"')
    'flights'
    """
    if "%" in value and '"' not in value and " " not in value:
        value = unquote(value, errors="replace")
    if name not in _JSON_ATTRIBUTES and len(value) > 1 and value[0] == value[-1] == '"':
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        return inner if isinstance(inner, str) else value
    return value


# --- JSON ---------------------------------------------------------------------------------------------------------
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_read_list = msgspec.json.Decoder(list[msgspec.Raw])
_read_value = msgspec.json.Decoder()


def from_json(document: bytes, received_ns: int) -> CloudEvent:
    """An event in the JSON format; raises EventError."""
    fields = _fields(document)
    attributes = {name.lower(): text for name, raw in fields.items() if (text := _attribute(name, raw)) is not None}
    content_type = attributes.pop("datacontenttype", None)
    return CloudEvent(
        attributes=attributes,
        body=_body(fields, content_type),
        content_type=content_type,
        content_encoding=attributes.pop("contentencoding", None),
        received_ns=received_ns,
    )


class _Envelope(msgspec.Struct):
    specversion: str
    id: str


_read_envelope = msgspec.json.Decoder(_Envelope | list[_Envelope])


def looks_like(document: bytes) -> Literal["event", "batch", ""]:
    """Whether a body is an event, or a batch, in the JSON format, whatever is said of it.

    Version 1 of the Python SDK puts the content type of the data on such messages.
    """
    if document[:1] not in _JSON_STARTS or b'"specversion"' not in document:
        return ""
    try:
        found = _read_envelope.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return "batch" if isinstance(found, list) else "event"


def batch_from_json(document: bytes, received_ns: int) -> list[CloudEvent]:
    """Every event of a batch; raises EventError where one of them cannot be read, naming which."""
    try:
        listed = _read_list.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("batch of CloudEvents", [f"is not a JSON list: {error}"]) from error
    events, faults = [], []
    for place, one in enumerate(listed):
        try:
            events.append(from_json(bytes(one), received_ns))
        except EventError as error:
            faults += [f"event {place}: {fault}" for fault in error.faults]
    if faults:
        raise EventError("batch of CloudEvents", faults)
    return events


def _fields(document: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _read_fields.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("CloudEvent", [f"is not a JSON object: {error}"]) from error


def _attribute(name: str, raw: msgspec.Raw) -> str | None:
    """The text of an attribute; None for what is none."""
    if name in {"data", "data_base64"}:
        return None
    try:
        value = _read_value.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("CloudEvent", [f"{name} cannot be read: {error}"]) from error
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return bytes(raw).decode()  # a number as it was written; an object, which the format does not know, as JSON


def _body(fields: Mapping[str, msgspec.Raw], content_type: str | None) -> bytes:
    encoded = fields.get("data_base64")
    if encoded is not None:
        try:
            return base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise EventError("CloudEvent", [f"data_base64 is not base64: {error}"]) from error
    raw = bytes(fields.get("data", b""))
    if raw[:1] != b'"':
        return b"" if raw == b"null" else raw
    text: bytes = msgspec.json.decode(raw, type=str).encode()
    # A text is a body of its own where the type says so; some senders also put JSON into a text.
    says_json = content_type is None or "json" in content_type.lower()
    return raw if says_json and not text.lstrip().startswith(_JSON_STARTS) else text
