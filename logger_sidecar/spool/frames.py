"""Frames of a spool segment: marker, length, CRC-32 of the payload, CRC-32 of those three, payload.

A header that is whole says where the next frame begins, whatever became of the payload; behind a damaged header the
marker lets a reader find the next whole frame. So damage costs the frames that it touches and no other.

A later format has a later marker, up to 0xD52F, and the same header. A reader that does not know it steps over its
frames and says so.

>>> data = pack_frame(b"first") + pack_frame(b"second")
>>> [found.payload for found in scan_frames(data)]
[b'first', b'second']
"""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from driftline.native import native_module

MARKER = 0xD520
_LAST_MARKER = MARKER | 0xF
_FIRST_BYTE = MARKER.to_bytes(2, "big")[:1]
HEADER = struct.Struct(">HIII")
#: Far above what a capture limit allows; a longer length can only be damage.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
_CHECKED = struct.Struct(">HII")
_CHECK = struct.Struct(">I")
_HEADER_BYTES, _CHECKED_BYTES = HEADER.size, _CHECKED.size
_read_header, _crc32 = HEADER.unpack_from, zlib.crc32
_kernel = native_module("logger_sidecar.spool.frame_kernel")

#: What becomes one frame: bytes, or the pieces of them in order, which are never joined.
Payload = bytes | tuple[bytes | memoryview, ...]
#: A frame as it is written, in pieces.
Pieces = tuple[bytes | memoryview, ...]


class Found(msgspec.Struct, frozen=True, gc=False):
    """One piece of a segment: a whole frame, or (payload None) damaged bytes or a frame of a later format.

    ``start`` and ``end`` are positions within the scanned bytes. ``format``: 0 is the one that is known.
    """

    start: int
    end: int
    payload: bytes | None
    format: int = 0


def pack_frame(payload: bytes) -> bytes:
    """The payload as it stands in a segment."""
    return b"".join(pack_pieces(payload))


def pack_pieces(payload: Payload) -> Pieces:
    """As ``pack_frame``, without copying the payload."""
    header = _header_of(payload)
    return (header, payload) if isinstance(payload, bytes) else (header, *payload)


def header_of(payload: Payload) -> bytes:
    """The header of a frame; the compiled build has the same in C."""
    if isinstance(payload, bytes):
        return _header(len(payload), zlib.crc32(payload))
    size = checksum = 0
    for piece in payload:
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
    return _header(size, checksum)


def _header(size: int, checksum: int) -> bytes:
    checked = _CHECKED.pack(MARKER, size, checksum)
    return checked + _CHECK.pack(zlib.crc32(checked))


def scan_frames(data: bytes, *, sealed: bool = False) -> Iterator[Found]:
    """Every whole frame in ``data``, and the damage between them.

    A tail that may still be being written is left alone unless ``sealed`` says that nothing will follow; then it is
    damage too.
    """
    position, size = 0, len(data)
    while position < size:
        payload = _payload_at(data, position, MAX_PAYLOAD_BYTES)
        if payload is not None:
            end = position + _HEADER_BYTES + len(payload)
        else:
            end = _end_of_damage(data, position, sealed)
            if end < 0:
                return
        yield Found(position, end, payload, 0 if payload is not None else _format_at(data, position))
        position = end


def whole_payload(data: bytes, position: int, most_bytes: int) -> bytes | None:
    """The payload of the frame at ``position``; None where no whole frame stands, or one of more than ``most_bytes``.

    Every frame is read by this, so what ``frame_length_at`` says is asked here once more, flat; the compiled build has
    the same in C.
    """
    start = position + _HEADER_BYTES
    if start > len(data):
        return None
    marker, length, checksum, check = _read_header(data, position)
    end = start + length
    if marker != MARKER or end > len(data) or length > most_bytes:
        return None
    payload = data[start:end]
    if check != _crc32(data[position : position + _CHECKED_BYTES]) or checksum != _crc32(payload):
        return None
    return payload


_header_of, _payload_at = (header_of, whole_payload) if _kernel is None else (_kernel.header, _kernel.whole_payload)


def frame_length_at(data: bytes, position: int) -> int | None:
    """How long the frame at ``position`` is, header included, of whatever format; None: no whole header stands."""
    if len(data) - position < HEADER.size:
        return None
    marker, length, _, check = HEADER.unpack_from(data, position)
    if not MARKER <= marker <= _LAST_MARKER or length > MAX_PAYLOAD_BYTES:
        return None
    return HEADER.size + int(length) if check == zlib.crc32(data[position : position + _CHECKED.size]) else None


def _format_at(data: bytes, position: int) -> int:
    """Which format the frame is of whose header stands at ``position``; 0 where there is none, too."""
    return 0 if frame_length_at(data, position) is None else int(HEADER.unpack_from(data, position)[0]) - MARKER


def _end_of_damage(data: bytes, position: int, sealed: bool) -> int:
    """Where reading goes on behind what is not a whole frame; -1 when it may still become one."""
    length = frame_length_at(data, position)
    if length is not None and position + length <= len(data):
        return position + length
    # A frame that is longer than what there is: nothing behind its header can be a frame of its own.
    if length is not None or len(data) - position < HEADER.size:
        return len(data) if sealed else -1
    following = _next_frame(data, position + 1)
    if following < 0:
        return len(data) if sealed else -1
    return following


def _next_frame(data: bytes, position: int) -> int:
    while (position := data.find(_FIRST_BYTE, position)) >= 0:
        if frame_length_at(data, position) is not None:
            return position
        position += 1
    return -1
