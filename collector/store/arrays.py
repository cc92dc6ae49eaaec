"""Arrays as PostgreSQL sends and takes them in binary: numbers and keys pass without one of them being looked at.

A head (dimensions, whether any is NULL, the kind of its values, how many, the first one's number), then each value with
its length before it (``array_recv`` and ``array_send`` in PostgreSQL's ``utils/adt/arrayfuncs.c``).
"""

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from collector.store.ids import KEY_KIND, KeyColumn
from driftline.columns import CodedTexts

_HEAD = np.dtype(">i4")
_HEAD_BYTES = 5 * _HEAD.itemsize
_SIZE = struct.Struct(">i")
_BINARY = 1
_FEW = 8


class BinaryArray:
    """A parameter of a statement; its class says of which type."""

    oid: ClassVar[int]

    def __init__(self, count: int, values: bytes, element_oid: int) -> None:
        """``values``: each with its length before it."""
        dimensions = 1 if count else 0
        head = np.array([dimensions, 0, element_oid, count, 1], dtype=_HEAD)
        self.raw = head[: 3 + 2 * dimensions].tobytes() + values


class KeyArray(BinaryArray):
    """``uuid[]``."""

    oid = 2951

    @classmethod
    def of(cls, keys: KeyColumn, places: NDArray[np.intp]) -> Self:
        """The keys at these places."""
        return cls(len(places), _sized(keys.values[places], KEY_KIND), 2950)


class IntegerArray(BinaryArray):
    """``integer[]``."""

    oid = 1007

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> Self:
        """Whole numbers of 32 bits; raises OverflowError beyond."""
        if len(values) and not -(2**31) <= values.min() <= values.max() < 2**31:
            raise OverflowError(f"{values.min()} to {values.max()} is beyond 32 bits")
        return cls(len(values), _sized(values, ">i4"), 23)


class BytesArray(BinaryArray):
    """``bytea[]``."""

    oid = 1001

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Self:
        """Values of any lengths."""
        return cls(len(values), b"".join([part for each in values for part in (len(each).to_bytes(4), each)]), 17)


def _sized(values: NDArray[Any], kind: str | np.dtype[Any]) -> bytes:
    rows = np.empty(len(values), dtype=[("size", ">i4"), ("value", kind)])
    rows["size"] = rows.dtype["value"].itemsize
    rows["value"] = values
    return rows.tobytes()


def read_texts(raw: bytes) -> CodedTexts:
    """The values of ``array_send(...)`` of an array of texts that is not empty."""
    count, size = np.frombuffer(raw, dtype=_HEAD, count=3, offset=_HEAD_BYTES - 8)[[0, 2]].tolist()
    if count > _FEW and size > 0 and len(raw) == _HEAD_BYTES + count * (4 + size):
        rows = np.frombuffer(raw, dtype=[("size", ">i4"), ("value", f"V{size}")], offset=_HEAD_BYTES)
        if (rows["size"] == size).all():
            return _coded(rows["value"])
    return CodedTexts.of([None if value is None else value.decode() for value in _each_value(raw, count)])


def _coded(values: NDArray[np.void]) -> CodedTexts:
    """Values of one length: in columns of few different ones without a look at each."""
    codes = np.empty(len(values), dtype=np.int32)
    texts: list[str] = []
    left = np.arange(len(values))
    for code in range(_FEW):
        if not len(left):
            return CodedTexts(texts, codes)
        first = values[left[0]]
        same = values[left] == first
        texts.append(first.tobytes().decode())
        codes[left[same]] = code
        left = left[~same]
    return CodedTexts.of([value.decode() for value in values.tolist()])


def _each_value(raw: bytes, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    at = _HEAD_BYTES
    for _ in range(count):
        (size,) = _SIZE.unpack_from(raw, at)
        at += _SIZE.size
        values.append(raw[at : at + size] if size >= 0 else None)
        at += max(size, 0)
    return values


class _Dumper:
    """How the driver is to send a :class:`BinaryArray`; a ``psycopg.abc.Dumper`` without importing it."""

    format = _BINARY
    oid = 0  # of the class: of no type, so that it does not dump whatever else is of one

    def __init__(self, cls: type[BinaryArray], _context: object = None) -> None:
        self.oid = cls.oid
        self._class = cls

    def get_key(self, _value: BinaryArray, _format: object) -> type[BinaryArray]:
        return self._class

    def upgrade(self, _value: BinaryArray, _format: object) -> Self:
        return self

    def dump(self, value: BinaryArray) -> bytes:
        return value.raw


def register(connection: Any) -> None:
    """Let a connection of the driver take these arrays as parameters."""
    for cls in (KeyArray, IntegerArray, BytesArray):
        connection.adapters.register_dumper(cls, _Dumper)
