r"""Frames of HTTP/2 (RFC 9113, sections 4 and 6): the numbers, and the few frames the sidecar writes itself.

>>> frame(PING, ACK, 0, b"12345678").hex(" ")
'00 00 08 06 01 00 00 00 00 31 32 33 34 35 36 37 38'
>>> literal(b"te", b"x")
b'\x00\x02te\x01x'
"""

import struct

from logger_sidecar.http1.head_grammar import HTTP2_PREFACE_HEAD

#: What a client that speaks HTTP/2 sends first (section 3.4).
PREFACE = HTTP2_PREFACE_HEAD + b"SM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

NO_ERROR, INTERNAL_ERROR = 0x0, 0x2
REFUSED_STREAM, CANCEL = 0x7, 0x8
ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = 0xB, 0xC

SETTINGS_MAX_HEADER_LIST_SIZE = 0x6

#: Bytes of a frame's own head, and the longest payload that everybody takes unasked.
HEAD_BYTES = 9
LEAST_MAX_PAYLOAD = 16384
HIGHEST_STREAM = 0x7FFFFFFF

_HEAD = struct.Struct(">HBBBI")
#: High 16 and low 8 bits of the payload's length, type, flags, stream (its first bit means nothing).
unpack_head = _HEAD.unpack_from
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def goaway(last_stream: int, error: int = NO_ERROR) -> bytes:
    """No stream above ``last_stream`` will be served (section 6.8)."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream) + _NUMBER.pack(error))


def reset(stream: int, error: int) -> bytes:
    """The stream ends at once (section 6.4)."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(error))


def number_at(data: bytes, position: int) -> int:
    """The 32-bit number that stands there; raises struct.error past the end."""
    found: int = _NUMBER.unpack_from(data, position)[0]
    return found


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    """Identifier and value of each setting; raises struct.error where the payload is cut."""
    return list(_SETTING.iter_unpack(payload))


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that leaves every table as it is (RFC 7541, section 6.2.2). ``name``: lower case, < 127 bytes."""
    return b"\x00" + bytes((len(name),)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    """A number with a prefix of 7 bits (RFC 7541, section 5.1)."""
    if size < 0x7F:
        return bytes((size,))
    written = bytearray((0x7F,))
    size -= 0x7F
    while size >= 0x80:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    written.append(size)
    return bytes(written)


def with_more(flags: int, stream: int, block: bytes, field: bytes) -> bytes:
    """As ``with_field``, for a HEADERS frame that is whole and has nothing but this block."""
    size = len(block) + len(field)
    if size > LEAST_MAX_PAYLOAD:
        return with_field(frame(HEADERS, flags, stream, block), field)
    return _HEAD.pack(size >> 8, size & 0xFF, HEADERS, flags, stream) + block + field


def with_field(sequence: bytes, field: bytes) -> bytes:
    """Header frames with one more field at the end of their header block.

    ``sequence``: a HEADERS frame and its CONTINUATION frames, whole. No payload grows past what every peer takes.
    """
    position = last = 0
    while position < len(sequence):
        last = position
        high, low, *_ = unpack_head(sequence, position)
        position += HEAD_BYTES + (high << 8 | low)
    high, low, kind, flags, stream = unpack_head(sequence, last)
    size = high << 8 | low
    if size + len(field) > LEAST_MAX_PAYLOAD:
        head = _HEAD.pack(high, low, kind, flags & ~END_HEADERS, stream)
        behind = frame(CONTINUATION, END_HEADERS, stream, field)
        return b"".join((sequence[:last], head, sequence[last + HEAD_BYTES :], behind))
    size += len(field)
    head = _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)
    padding = sequence[last + HEAD_BYTES] if kind == HEADERS and flags & PADDED else 0
    end = len(sequence) - padding
    return b"".join((sequence[:last], head, sequence[last + HEAD_BYTES : end], field, sequence[end:]))
