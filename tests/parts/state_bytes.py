"""A sequential test's state as bytes and back, exactly: what a state is, and that nothing of it lies elsewhere."""

from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")

_DTYPES = ("<f8", "<i8")


def to_bytes(state: Any) -> bytes:
    """The state, a frozen dataclass of numbers, truths, tuples and arrays, as bytes."""
    return msgspec.msgpack.encode([_plain(getattr(state, field.name)) for field in fields(state)])


def from_bytes(kind: type[T], data: bytes) -> T:
    """Read what :func:`to_bytes` wrote of a ``kind``."""
    return kind(*(_restored(value) for value in msgspec.msgpack.decode(data)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        whole = np.issubdtype(value.dtype, np.integer)
        packed = (int(whole), value.shape, np.ascontiguousarray(value, dtype=_DTYPES[int(whole)]).tobytes())
        return msgspec.msgpack.Ext(1, msgspec.msgpack.encode(packed))
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _restored(value: Any) -> Any:
    if isinstance(value, msgspec.msgpack.Ext):
        whole, shape, data = msgspec.msgpack.decode(value.data)
        return np.frombuffer(data, dtype=_DTYPES[whole]).reshape(shape)
    return tuple(_restored(item) for item in value) if isinstance(value, list) else value
