r"""The wire format of protobuf, as far as reading messages takes it: fields one after another.

Source: https://protobuf.dev/programming-guides/encoding/. Our own, because the library would need classes made of a
schema, and because of what is read most is a run of numbers, which NumPy takes as it is.

>>> [(field.number, field.start, field.end) for field in fields(b"\x0a\x02hi\x10\x05")]
[(1, 2, 4), (2, 5, 6)]
>>> varints(b"\x05\xac\x02").tolist()
[5, 300]
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


class WireError(ValueError):
    """Bytes that are no message."""


class Field(NamedTuple):
    """One field: its number, how it is written, and where its value begins and ends in the message."""

    number: int
    wire_type: int
    start: int
    end: int


def fields(message: bytes, position: int = 0, end: int | None = None) -> Iterator[Field]:
    """All fields of ``message[position:end]`` in order; raises WireError where the bytes are no whole message."""
    end = len(message) if end is None else end
    while position < end:
        tag, start = _varint(message, position, end)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"a field has the number {number}")
        if wire_type == BYTES:
            size, start = _varint(message, start, end)
            position = start + size
        elif wire_type == VARINT:
            _, position = _varint(message, start, end)
        elif wire_type in _FIXED_BYTES:
            position = start + _FIXED_BYTES[wire_type]
        else:
            raise WireError(f"the wire type {wire_type} is not known")
        if position > end:
            raise WireError("a field is longer than its message")
        yield Field(number, wire_type, start, position)


def varint(message: bytes, field: Field) -> int:
    """The number that a field holds, as 64 bits without a sign."""
    return _varint(message, field.start, field.end)[0]


def varints(packed: bytes) -> NDArray[np.uint64]:
    """Numbers that are written one after another; raises WireError."""
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < 128)
    if not len(data):
        return data.astype(np.uint64)
    if not len(ends) or ends[-1] != len(data) - 1:
        raise WireError("a number is cut")
    if len(ends) == len(data):
        return data.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_VARINT:
        raise WireError("a number is too long")
    places = np.arange(len(data)) - np.repeat(starts, lengths)
    pieces = (data & 127).astype(np.uint64) << (places * 7).astype(np.uint64)
    found: NDArray[np.uint64] = np.bitwise_or.reduceat(pieces, starts)
    return found


def _varint(message: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 7 * _LONGEST_VARINT:
        byte = message[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value & (2**64 - 1), position
        shift += 7
    raise WireError("a number is cut or too long")
