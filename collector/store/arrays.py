"""Arrays as PostgreSQL sends and takes them in binary: numbers and keys pass without one of them being looked at.

A head (dimensions, whether any is NULL, the kind of its values, how many, the first one's number), then each value with
its length before it (``array_recv`` and ``array_send`` in PostgreSQL's ``utils/adt/arrayfuncs.c``).
"""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from collector.store.ids import KeyColumn

_HEAD = np.dtype(">i4")
_HEAD_BYTES = 5 * _HEAD.itemsize
_BINARY = 1


class BinaryArray:
    """A parameter of a statement; its class says of which type."""

    oid: ClassVar[int]

    def __init__(self, values: NDArray[Any], kind: str, element_oid: int) -> None:
        rows = np.empty(len(values), dtype=[("size", ">i4"), ("value", kind)])
        rows["size"] = rows.dtype["value"].itemsize
        rows["value"] = values
        dimensions = 1 if len(values) else 0
        head = np.array([dimensions, 0, element_oid, len(values), 1], dtype=_HEAD)
        self.raw = head[: 3 + 2 * dimensions].tobytes() + rows.tobytes()


class KeyArray(BinaryArray):
    """``uuid[]``."""

    oid = 2951

    @classmethod
    def of(cls, keys: KeyColumn, places: NDArray[np.intp]) -> Self:
        """The keys at these places."""
        return cls(keys.raw[places], "(16,)u1", 2950)


class IntegerArray(BinaryArray):
    """``integer[]``."""

    oid = 1007

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> Self:
        """Whole numbers of 32 bits; raises OverflowError beyond."""
        if len(values) and not -(2**31) <= values.min() <= values.max() < 2**31:
            raise OverflowError(f"{values.min()} to {values.max()} is beyond 32 bits")
        return cls(values, ">i4", 23)


def read_array(raw: bytes, kind: str) -> NDArray[Any]:
    """The values of ``array_send(...)``: an array that is not empty, without NULLs, of this kind of NumPy's.

    >>> read_array(IntegerArray.of(np.array([7, -1])).raw, ">i4").tolist()
    [7, -1]
    """
    return np.frombuffer(raw, dtype=[("size", ">i4"), ("value", kind)], offset=_HEAD_BYTES)["value"]


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


def register(cursor: Any) -> None:
    """Let a cursor of the driver take these arrays as parameters."""
    for cls in (KeyArray, IntegerArray):
        cursor.adapters.register_dumper(cls, _Dumper)
