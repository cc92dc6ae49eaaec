r"""The wire format of protobuf, as much more of it as editing a message takes.

>>> [(field.number, field.value) for field in read_fields(b"\x0a\x02hi\x10\x05")]
[(1, b'hi'), (2, 5)]
>>> write_bytes(1, b"hi") + write_varint(2, 5)
b'\n\x02hi\x10\x05'
"""

from typing import NamedTuple

from driftline.protobuf_wire import BYTES, VARINT, fields, read_varint


class Field(NamedTuple):
    """One field as it is on the wire; ``value``: a whole number for a varint, else bytes."""

    number: int
    wire_type: int
    value: int | bytes


def read_fields(message: bytes) -> list[Field]:
    """All fields in order; raises WireError where the bytes are no whole message."""
    return [
        Field(number, wire_type, read_varint(message, start, end)[0] if wire_type == VARINT else message[start:end])
        for number, wire_type, start, end in fields(message)
    ]


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
