"""Frames of events, put together from parts that are alike in many of them.

A frame is one msgpack map, as ``driftline.events.encode_frame`` makes it. Most of its entries are the same in every
event of a stream, or follow from a head that clients and servers repeat; those are encoded once, and only the others
for each event. Readers cannot tell the difference, but for the order of the entries, which means nothing.
"""

import struct
from collections.abc import Mapping

from msgspec import msgpack

from driftline.events import Payload as Body
from logger_sidecar.http1.request_ids import id_text
from logger_sidecar.recording.recorder_wire import ReceivedRecord, body_bytes
from logger_sidecar.spool.frames import Payload

_encode = msgpack.Encoder().encode
# A key of msgpack is its length's mark and its text; behind it stands the mark of the value's type.
_NUMBERS = struct.Struct(">9sQ13sd9sd11s")
_TIME, _DURATION, _TTFB, _REQUEST_ID = b"\xa7time_ns\xcf", b"\xabduration_ms\xcb", b"\xa7ttfb_ms\xcb", b"\xaarequest_id"
_WHOLE, _TRUNCATED = _encode("truncated") + _encode(False), _encode("truncated") + _encode(True)
_TRACE = _encode("traceparent")
_UNTRACED = _TRACE + _encode(None)
_BODY = _encode("body") + b"\xc6"
_LENGTH = struct.Struct(">I")
_MAP = struct.Struct(">BH")
_MAP_MARK = 0xDE
#: id, time_ns, duration_ms, ttfb_ms, request_id, truncated, traceparent, request, response
_CHANGING = 9
#: Bodies that have more bytes together are not copied.
_LARGE_BYTES = 4096


def stream_part(**fields: str | int | float | Mapping[str, str]) -> bytes:
    """What all events of a kind share: entries of ``driftline.events.InferenceEvent``."""
    entries = b"".join(entry(name, value) for name, value in fields.items())
    return _MAP.pack(_MAP_MARK, len(fields) + _CHANGING) + entries + _encode("id")


def entry(name: str, value: str | int | float | Mapping[str, str]) -> bytes:
    """One entry of a frame."""
    return _encode(name) + _encode(value)


def with_entry(stream: bytes, name: str, value: str) -> bytes:
    """A stream's part with one more entry that only some of its events have."""
    mark, count = _MAP.unpack_from(stream)
    id_key = _encode("id")
    entries = stream[_MAP.size : len(stream) - len(id_key)]
    return _MAP.pack(mark, count + 1) + entries + entry(name, value) + id_key


def request_part(described: Body) -> bytes:
    """What a request's head says, but for its trace context. ``described``: the request without its body."""
    return _UNTRACED + _half("request", described)


def traced(part: bytes, traceparent: str) -> bytes:
    """A ``request_part`` with this trace context."""
    return _TRACE + _encode(traceparent) + part[len(_UNTRACED) :]


def response_part(described: Body) -> bytes:
    """What an answer's head says. ``described``: the answer without its body."""
    return _half("response", described)


def frame(record: ReceivedRecord) -> Payload:
    """The frame of one event, of its parts; bodies are shorter than 4 GiB. Large ones stay where they are."""
    request_body, response_body = record.request_body, record.response_body
    request_bytes, response_bytes = body_bytes(request_body), body_bytes(response_body)
    before = (
        record.stream,
        _encode(record.event_id),
        _NUMBERS.pack(_TIME, record.time_ns, _DURATION, record.duration_ms, _TTFB, record.ttfb_ms, _REQUEST_ID),
        _encode(id_text(record.request_id)),
        _TRUNCATED if record.truncated else _WHOLE,
        record.request,
        _LENGTH.pack(request_bytes),
    )
    request = request_body if isinstance(request_body, tuple) else (request_body,)
    response = response_body if isinstance(response_body, tuple) else (response_body,)
    if request_bytes + response_bytes < _LARGE_BYTES:
        return b"".join((*before, *request, record.response, _LENGTH.pack(response_bytes), *response))
    return b"".join(before), *request, record.response + _LENGTH.pack(response_bytes), *response


def _half(name: str, described: Body) -> bytes:
    """All of one half up to the length of its body: its map has the body as one more entry."""
    encoded = _encode(described)
    return _encode(name) + bytes([encoded[0] + 1]) + encoded[1:] + _BODY
