"""A test's state as bytes and back, exactly: numbers are kept as they are in memory.

>>> from detectors.online.contract import Onset
>>> from_bytes(Onset, to_bytes(Onset(5, 3, 6)))
Onset(at=5, earliest=3, latest=6, reaches_back=False)
"""

from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import numpy as np

from detectors.counts.summary import StateError

T = TypeVar("T")

_DTYPES = ("<f8", "<i8")


def to_bytes(state: Any) -> bytes:
    """The state, a frozen dataclass of numbers, truths, tuples and arrays, as bytes."""
    values = [_plain(getattr(state, field.name)) for field in fields(state)]
    return msgspec.msgpack.encode([type(state).__name__, *values])


def from_bytes(kind: type[T], data: bytes) -> T:
    """Read what :func:`to_bytes` wrote of a ``kind``; raises StateError."""
    try:
        name, *values = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise StateError(f"bytes are not the state of a test: {error}") from error
    if name != kind.__name__ or len(values) != len(fields(kind)):  # type: ignore[arg-type]
        raise StateError(f"bytes hold the state of {name!r}, not of {kind.__name__}")
    return kind(*(_lively(value) for value in values))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        whole = np.issubdtype(value.dtype, np.integer)
        dtype = _DTYPES[1] if whole else _DTYPES[0]
        packed = (int(whole), value.shape, np.ascontiguousarray(value, dtype=dtype).tobytes())
        return msgspec.msgpack.Ext(1, msgspec.msgpack.encode(packed))
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _lively(value: Any) -> Any:
    if isinstance(value, msgspec.msgpack.Ext):
        whole, shape, data = msgspec.msgpack.decode(value.data)
        return np.frombuffer(data, dtype=_DTYPES[whole]).reshape(shape)
    return tuple(_lively(item) for item in value) if isinstance(value, list) else value
