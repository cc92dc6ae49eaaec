r"""Raw tensor bytes as values and back, for redaction: little-endian numbers, and BYTES with a length before each.

>>> data = read_raw("BYTES", b"\x02\x00\x00\x00hi\x01\x00\x00\x00\xff")
>>> data, write_raw("BYTES", data) == ("BYTES", b"\x02\x00\x00\x00hi\x01\x00\x00\x00\xff")
(['hi', b'\xff'], True)
>>> write_raw("FP32", ["hmac:1"])
('BYTES', b'\x06\x00\x00\x00hmac:1')
"""

import struct
from array import array
from typing import Any

BYTES = "BYTES"
_LENGTH = struct.Struct("<I")
#: Type codes of ``array``. Half precision is read as its bits: what is redacted of it becomes zero all the same.
_CODES = {
    "BOOL": "B",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "H",
    "BF16": "H",
    "FP32": "f",
    "FP64": "d",
}


class TensorError(ValueError):
    """Bytes that are no tensor of their type."""


def read_raw(datatype: str, raw: bytes) -> Any:
    """Values of a raw tensor: numbers as an ``array``, elements of BYTES as texts where they are UTF-8.

    Raises TensorError.
    """
    if datatype == BYTES:
        return _read_elements(raw)
    code = _CODES.get(datatype)
    if code is None:
        raise TensorError(f"the datatype '{datatype[:20]}' is not known")
    numbers = array(code)
    if len(raw) % numbers.itemsize:
        raise TensorError(f"{len(raw)} bytes are no whole number of {datatype}")
    numbers.frombytes(raw)
    return numbers


def write_raw(datatype: str, data: Any) -> tuple[str, bytes]:
    """Datatype and bytes of values, which may have become others: texts make the tensor one of BYTES, null is zero."""
    if isinstance(data, array):
        return datatype, data.tobytes()
    items = data if isinstance(data, list) else [data]
    if datatype == BYTES or any(isinstance(item, str | bytes | dict | list) for item in items):
        elements = [as_bytes(item) for item in items]
        return BYTES, b"".join(_LENGTH.pack(len(element)) + element for element in elements)
    return datatype, array(_CODES[datatype], [0 if item is None else item for item in items]).tobytes()


def _read_elements(raw: bytes) -> list[str | bytes]:
    elements: list[str | bytes] = []
    position = 0
    while position < len(raw):
        start = position + _LENGTH.size
        if start > len(raw):
            raise TensorError("a length of BYTES is cut")
        position = start + int(_LENGTH.unpack_from(raw, start - _LENGTH.size)[0])
        if position > len(raw):
            raise TensorError("an element of BYTES is cut")
        elements.append(text_or_bytes(raw[start:position]))
    return elements


def text_or_bytes(value: bytes) -> str | bytes:
    """As a text where it is UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def as_bytes(value: Any) -> bytes:
    """Bytes as they are, anything else as its text in UTF-8; none for None."""
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode("utf-8", "surrogatepass")
