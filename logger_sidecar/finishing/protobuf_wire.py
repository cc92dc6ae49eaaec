r"""The wire format of protobuf, as much of it as editing a message takes: fields one after another.

Source: https://protobuf.dev/programming-guides/encoding/

>>> [(field.number, field.value) for field in read_fields(b"\x0a\x02hi\x10\x05")]
[(1, b'hi'), (2, 5)]
>>> write_bytes(1, b"hi") + write_varint(2, 5)
b'\n\x02hi\x10\x05'
"""

from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """Bytes that are no message."""


class Field(NamedTuple):
    """One field as it is on the wire; ``value``: a whole number for a varint, else bytes."""

    number: int
    wire_type: int
    value: int | bytes


def read_fields(message: bytes) -> list[Field]:
    """All fields in order; raises WireError where the bytes are no whole message."""
    fields = []
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise WireError("a field has the number 0")
        if wire_type == VARINT:
            number_value, position = read_varint(message, position)
            fields.append(Field(number, wire_type, number_value))
            continue
        if wire_type == BYTES:
            size, position = read_varint(message, position)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise WireError(f"the wire type {wire_type} is not known")
        if position + size > len(message):
            raise WireError("a field is longer than its message")
        fields.append(Field(number, wire_type, message[position : position + size]))
        position += size
    return fields


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of up to 64 bits and the position behind it; raises WireError."""
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value & (2**64 - 1), position
        shift += 7
    raise WireError("a number is cut or too long")


def varint(value: int) -> bytes:
    """A number on the wire; below zero as 64 bits of two's complement."""
    value &= 2**64 - 1
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def signed(value: int) -> int:
    """A 64-bit number of the wire as int32 and int64 mean it."""
    return value - 2**64 if value >= 2**63 else value


def write_field(field: Field) -> bytes:
    """A field as it was."""
    if isinstance(field.value, int):
        return varint(field.number << 3 | field.wire_type) + varint(field.value)
    if field.wire_type == BYTES:
        return write_bytes(field.number, field.value)
    return varint(field.number << 3 | field.wire_type) + field.value


def write_bytes(number: int, value: bytes) -> bytes:
    """A text, a message or packed numbers."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def write_varint(number: int, value: int) -> bytes:
    """A whole number or a truth value."""
    return varint(number << 3 | VARINT) + varint(value)
