r"""The wire format of protobuf, as far as reading messages takes it: fields one after another.

Source: https://protobuf.dev/programming-guides/encoding/. Our own, because the library would need classes made of a
schema.

>>> fields(b"\x0a\x02hi\x10\x05")
[(1, 2, 2, 4), (2, 0, 5, 6)]
>>> read_varint(b"\xac\x02", 0, 2)
(300, 2)
"""

from typing import TypeAlias

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
LONGEST_VARINT_BYTES = 10


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
            tag, start = read_varint(message, position, end)
        wire_type = tag & 7
        if not 0 < tag >> 3 < 1 << 29:
            raise WireError(f"a field has the number {tag >> 3}")
        if wire_type == BYTES:
            if start < end and message[start] < 128:
                position = start + 1 + message[start]
                start += 1
            else:
                size, start = read_varint(message, start, end)
                position = start + size
        elif wire_type == VARINT:
            _, position = read_varint(message, start, end)
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
            value, position = read_varint(message, position - 1, end)
        found.append(value)
    return found


def read_varint(message: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits that begins at ``position``, and the position behind it; raises WireError."""
    value = shift = 0
    while position < end and shift < 7 * LONGEST_VARINT_BYTES:
        byte = message[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value & (2**64 - 1), position
        shift += 7
    raise WireError("a number is cut or too long")
