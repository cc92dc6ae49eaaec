r"""The wire format of protobuf, as far as reading messages takes it: fields one after another.

Source: https://protobuf.dev/programming-guides/encoding/. Our own, because the library would need classes made of a
schema, and because of what is read most is a run of numbers, which NumPy takes as it is.

>>> fields(b"\x0a\x02hi\x10\x05")
[(1, 2, 2, 4), (2, 0, 5, 6)]
>>> varints(b"\x05\xac\x02").tolist()
[5, 300]
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10
#: Packed numbers in fewer bytes are read one by one, in less time than NumPy takes to begin.
_FEW_BYTES = 48


class WireError(ValueError):
    """Bytes that are no message."""


#: A field: its number, how it is written, and where its value begins and ends in the message.
Field: TypeAlias = tuple[int, int, int, int]


def fields(message: bytes, position: int = 0, end: int | None = None) -> list[Field]:
    """All fields of ``message[position:end]`` in order; raises WireError where the bytes are no whole message."""
    end = len(message) if end is None else end
    found: list[Field] = []
    while position < end:
        tag = message[position]
        start = position + 1
        if tag > 127:
            tag, start = _varint(message, position, end)
        wire_type = tag & 7
        if not 0 < tag >> 3 < 1 << 29:
            raise WireError(f"a field has the number {tag >> 3}")
        if wire_type == BYTES:
            if start < end and message[start] < 128:
                position = start + 1 + message[start]
                start += 1
            else:
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
        found.append((tag >> 3, wire_type, start, position))
    return found


def few_varints(message: bytes, position: int, end: int) -> list[int]:
    """Numbers that are written one after another in ``message[position:end]``; raises WireError."""
    found = []
    while position < end:
        value = message[position]
        position += 1
        if value > 127:
            value, position = _varint(message, position - 1, end)
        found.append(value)
    return found


def varints(packed: bytes) -> NDArray[np.uint64]:
    """Numbers that are written one after another; raises WireError."""
    if len(packed) < _FEW_BYTES:
        return np.array(few_varints(packed, 0, len(packed)), np.uint64)
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < 128)
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
