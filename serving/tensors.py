r"""The tensor every codec reads into, and the data types of the Open Inference Protocol.

>>> read_raw("x", "FP32", (2,), b"\x00\x00\x80\x3f\x00\x00\x00\x40").values
array([1., 2.], dtype=float32)
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.categories import LARGEST_WHOLE
from driftline.columns import CodedTexts
from driftline.errors import DecodeError
from serving import reasons

#: Datatype and its NumPy type, little-endian as on the wire. BF16 and BYTES are handled apart.
NUMPY_TYPES: dict[str, str] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
BF16 = "BF16"
BYTES = "BYTES"
DATATYPES = (*NUMPY_TYPES, BF16, BYTES)

#: Values as read from JSON, an array as read from bytes, or texts of many events; flat, row after row.
Values: TypeAlias = list[Any] | NDArray[Any] | CodedTexts


# A msgspec Struct, not a dataclass: fourteen are made per event, and it is several times cheaper to make.
class Tensor(msgspec.Struct, frozen=True, gc=False):
    """A named tensor.

    ``datatype`` is empty where the protocol names none (V1). ``values`` are flat, in row-major order; their number is
    the product of ``shape``. BYTES are ``str`` in a list, or ``bytes`` where they are no UTF-8.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values

    @property
    def rows(self) -> int:
        """Length of the first dimension; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def width(self) -> int:
        """Values per row."""
        return math.prod(self.shape[1:])


def joined_values(parts: Sequence[Values]) -> Values:
    """Values one after the other: as an array or as coded texts, where every part can be that, else as a list.

    >>> joined_values([[1, None], np.array([0.5])])
    array([1. , nan, 0.5])
    """
    if len(parts) == 1:
        return parts[0]
    arrays = [array for part in parts if (array := _as_array(part)) is not None]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    texts = [coded for part in parts if (coded := _as_texts(part)) is not None]
    if len(texts) == len(parts):
        return CodedTexts.joined(texts)
    return [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


def _as_array(values: Values) -> NDArray[Any] | None:
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, CodedTexts) or not set(map(type, values)) <= {float, int, type(None)}:
        return None
    if any(type(value) is int and abs(value) >= LARGEST_WHOLE for value in values):
        return None
    return np.array(values, np.float64)


def _as_texts(values: Values) -> CodedTexts | None:
    if isinstance(values, CodedTexts):
        return values
    if isinstance(values, np.ndarray) or not set(map(type, values)) <= {str, type(None)}:
        return None
    return CodedTexts.of(values)


def check_count(name: str, shape: tuple[int, ...], found: int) -> None:
    """Raise DecodeError ``shape_mismatch`` unless ``found`` values fill ``shape``."""
    if math.prod(shape) != found or min(shape, default=0) < 0:
        raise DecodeError(
            reasons.SHAPE_MISMATCH, f"tensor '{name}' has shape {list(shape)} but {found} values in its data"
        )


def flatten(name: str, data: list[Any]) -> list[Any]:
    """Nested lists as one flat list; raises DecodeError where lists and values are mixed on one level."""
    while data and type(data[0]) is list:
        flat: list[Any] = []
        for part in data:
            if type(part) is not list:
                raise DecodeError(reasons.MALFORMED, f"tensor '{name}' mixes lists and values on one level of its data")
            flat.extend(part)
        data = flat
    return data


def read_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """A tensor from its raw little-endian bytes; raises DecodeError when bytes and shape contradict each other."""
    values: Values
    if datatype == BYTES:
        values = _read_texts(name, raw)
    elif datatype == BF16:
        _check_multiple(name, datatype, raw, 2)
        # bfloat16 is the upper half of a float32.
        values = (np.frombuffer(raw, dtype="<u2").astype("<u4") << 16).view("<f4")
    elif datatype in NUMPY_TYPES:
        dtype = np.dtype(NUMPY_TYPES[datatype])
        _check_multiple(name, datatype, raw, dtype.itemsize)
        values = np.frombuffer(raw, dtype=dtype)
    else:
        raise unknown_datatype(name, datatype)
    check_count(name, shape, len(values))
    return Tensor(name, datatype, shape, values)


def write_raw(tensor: Tensor) -> bytes:
    """The raw little-endian bytes of a tensor; the counterpart of :func:`read_raw`."""
    if tensor.datatype == BYTES:
        values: list[Any] = list(tensor.values)
        parts = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)
    if tensor.datatype == BF16:
        bits = np.asarray(tensor.values, dtype="<f4").view("<u4")
        return (bits >> 16).astype("<u2").tobytes()
    return np.asarray(tensor.values, dtype=NUMPY_TYPES[tensor.datatype]).tobytes()


def unknown_datatype(name: str, datatype: str) -> DecodeError:
    """The error for a datatype that the protocol does not have."""
    return DecodeError(
        reasons.MALFORMED, f"tensor '{name}' has datatype '{datatype[:40]}', which is not one of {', '.join(DATATYPES)}"
    )


def _check_multiple(name: str, datatype: str, raw: bytes, size: int) -> None:
    if len(raw) % size:
        raise DecodeError(
            reasons.SHAPE_MISMATCH, f"tensor '{name}' has {len(raw)} bytes, not a multiple of {datatype}'s {size}"
        )


def _read_texts(name: str, raw: bytes) -> list[str | bytes]:
    if int.from_bytes(raw[:4], "little") == len(raw) - 4:  # the only element, as most are
        return [text_or_bytes(raw[4:])]
    texts: list[str | bytes] = []
    place = 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise DecodeError(reasons.MALFORMED, f"tensor '{name}' ends within the length of element {len(texts)}")
        end = place + 4 + int.from_bytes(raw[place : place + 4], "little")
        if end > len(raw):
            raise DecodeError(reasons.MALFORMED, f"tensor '{name}' ends within element {len(texts)}")
        texts.append(text_or_bytes(raw[place + 4 : end]))
        place = end
    return texts


def text_or_bytes(raw: bytes) -> str | bytes:
    """An element of a BYTES tensor: text where it is UTF-8, else the bytes themselves (an image, say)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
