"""Frames of a spool segment: marker, length, CRC-32 of the payload, payload.

The marker lets a reader find the next whole frame behind a damaged one, so that damage costs only itself.

>>> data = pack_frame(b"first") + pack_frame(b"second")
>>> [found.payload for found in scan_frames(data)]
[b'first', b'second']
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MARKER = 0xD51F
MARKER_BYTES = MARKER.to_bytes(2, "big")
HEADER = struct.Struct(">HII")
#: Far above what a capture limit allows; a longer length can only be damage.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024


class Found(NamedTuple):
    """One piece of a segment: a whole frame, or (payload None) damaged bytes.

    ``start`` and ``end`` are positions within the scanned bytes.
    """

    start: int
    end: int
    payload: bytes | None


def pack_frame(payload: bytes) -> bytes:
    """The payload as it stands in a segment."""
    return HEADER.pack(MARKER, len(payload), zlib.crc32(payload)) + payload


def scan_frames(data: bytes, *, sealed: bool = False) -> Iterator[Found]:
    """Every whole frame in ``data``, and the damage between them.

    A tail that may still be being written is left alone unless ``sealed`` says that nothing will follow; then it is
    damage too.
    """
    position = 0
    while position < len(data):
        payload = frame_at(data, position)
        if payload is not None:
            end = position + HEADER.size + len(payload)
        else:
            end = _end_of_damage(data, position, sealed)
            if end < 0:
                return
        yield Found(position, end, payload)
        position = end


def frame_at(data: bytes, position: int) -> bytes | None:
    """The payload of the whole, undamaged frame that starts at ``position``; None where there is none."""
    if len(data) - position < HEADER.size:
        return None
    marker, length, checksum = HEADER.unpack_from(data, position)
    start = position + HEADER.size
    if marker != MARKER or length > MAX_PAYLOAD_BYTES or length > len(data) - start:
        return None
    payload = data[start : start + length]
    return payload if zlib.crc32(payload) == checksum else None


def frame_length_at(data: bytes, position: int) -> int | None:
    """How long the frame at ``position`` says it is, header included; None where no header can be read."""
    if len(data) - position < HEADER.size:
        return None
    marker, length, _checksum = HEADER.unpack_from(data, position)
    return HEADER.size + int(length) if marker == MARKER and length <= MAX_PAYLOAD_BYTES else None


def _end_of_damage(data: bytes, position: int, sealed: bool) -> int:
    """Where reading goes on behind what is not a frame; -1 when it may still become one."""
    length = frame_length_at(data, position)
    end = position + (length or 0)
    may_grow = (length is not None and end >= len(data)) or len(data) - position < HEADER.size
    if may_grow and not sealed:
        return -1
    # A believable length is believed: a body may hold bytes that look like a frame, and must not be read as one.
    if length is not None and (end == len(data) or data.startswith(MARKER_BYTES, end)):
        return end
    following = _next_frame(data, position + 1)
    if following < 0 and not sealed:
        return -1
    return following if following >= 0 else len(data)


def _next_frame(data: bytes, position: int) -> int:
    while (position := data.find(MARKER_BYTES, position)) >= 0:
        if frame_at(data, position) is not None:
            return position
        position += 1
    return -1
