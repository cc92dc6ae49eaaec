"""A row's input columns as the store keeps them beside its prediction: packed, because every row has them.

The value is one byte (the form's number), the number of its *layout*, the numeric columns as float64 (NaN: missing),
and the other columns as a msgpack list of texts (nil: missing). The layout, a monitor's columns in their order, is
stored once. Text in JSON would take ten times as long to make and two to three times the room.

>>> layout = RowLayout((("distance", "numeric"), ("carrier", "categorical")))
>>> rows = ColumnBatch(1, {"distance": np.array([740.0])}, {"carrier": np.array(["AA"], dtype=np.object_)})
>>> unpack(layout, pack(layout, rows)[0])
{'distance': 740.0, 'carrier': 'AA'}
"""

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.store.database import clean
from driftline.columns import ColumnBatch, NumericColumn, TextColumn
from driftline.errors import PermanentError
from driftline.monitors import Monitor

_FORM = 1
_FORM_BYTE = bytes([_FORM])
_HEAD = struct.Struct("<Bq")

_texts_encoder = msgspec.msgpack.Encoder()
_texts_decoder = msgspec.msgpack.Decoder(list[str | None])


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Columns with their kinds, ``numeric`` or another, in the monitor's order; ``number`` follows from them."""

    columns: tuple[tuple[str, str], ...]
    number: int = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.spelt().encode()).digest()
        object.__setattr__(self, "number", int.from_bytes(digest[:8], "little", signed=True))

    def spelt(self) -> str:
        """The layout as the store keeps it."""
        return msgspec.json.encode(self.columns).decode()

    @classmethod
    def read(cls, spelt: str) -> "RowLayout":
        """What :meth:`spelt` wrote."""
        return cls(msgspec.json.decode(spelt, type=tuple[tuple[str, str], ...]))

    @property
    def numeric(self) -> list[str]:
        """The numeric columns."""
        return [name for name, kind in self.columns if kind == "numeric"]

    @property
    def text(self) -> list[str]:
        """All others."""
        return [name for name, kind in self.columns if kind != "numeric"]


def layout_of(monitor: Monitor) -> RowLayout:
    """The input columns of a monitor; its prediction and score have places of their own in the store."""
    outputs = {monitor.prediction.column, monitor.prediction.score}
    return RowLayout(tuple((spec.name, spec.type) for spec in monitor.columns if spec.name not in outputs))


def pack(layout: RowLayout, rows: ColumnBatch) -> list[bytes]:
    """Each row's columns; a column that the batch lacks is missing in every row."""
    head = _HEAD.pack(_FORM, layout.number)
    numeric, text = layout.numeric, layout.text
    numbers = np.full((rows.rows, len(numeric)), np.nan, dtype="<f8")
    for place, name in enumerate(numeric):
        if name in rows.numeric:
            numbers[:, place] = rows.numeric[name]
    raw, size = numbers.tobytes(), 8 * len(numeric)
    numbers_of = (
        [raw[start : start + size] for start in range(0, size * rows.rows, size)] if size else [b""] * rows.rows
    )
    if not text:
        return [head + part + b"\x90" for part in numbers_of]
    missing = [None] * rows.rows
    listed = list(zip(*(rows.text[name].tolist() if name in rows.text else missing for name in text), strict=True))
    encode = _texts_encoder.encode
    try:
        return [head + part + encode(row) for part, row in zip(numbers_of, listed, strict=True)]
    except UnicodeEncodeError:  # halves of surrogate pairs, which no encoding has
        cleaned = (tuple(None if value is None else clean(value) for value in row) for row in listed)
        return [head + part + encode(row) for part, row in zip(numbers_of, cleaned, strict=True)]


def layout_number(packed: bytes) -> int:
    """The number of the layout that ``packed`` has; raises PermanentError when it is nothing that ``pack`` made."""
    if len(packed) < _HEAD.size or packed[0] != _FORM:
        raise PermanentError(f"columns of a stored row begin with {packed[:1]!r}, not {_FORM_BYTE!r}")
    return int(_HEAD.unpack_from(packed)[1])


def unpack(layout: RowLayout, packed: bytes) -> dict[str, str | float | None]:
    """The columns by name in the layout's order: None for missing, an infinite number as text (JSON has none)."""
    numeric, text = layout.numeric, layout.text
    end = _HEAD.size + 8 * len(numeric)
    try:
        numbers = struct.unpack_from(f"<{len(numeric)}d", packed, _HEAD.size)
        texts = _texts_decoder.decode(packed[end:])
        found: dict[str, Any] = dict(zip(text, texts, strict=True))
    except (struct.error, msgspec.MsgspecError, ValueError) as error:
        raise PermanentError(f"columns of a stored row are damaged: {error}") from error
    found.update(zip(numeric, map(_shown, numbers), strict=True))
    return {name: found[name] for name, _ in layout.columns}


def is_readable(layouts: Mapping[int, RowLayout], packed: bytes) -> bool:
    """Whether a layout here tells of the row; raises PermanentError where it is damaged."""
    return packed[:1] == _FORM_BYTE and layout_number(packed) in layouts


def unpack_rows(layouts: Mapping[int, RowLayout], packed: Sequence[bytes]) -> ColumnBatch:
    """Many rows as columns, in their order; a column that a row's layout lacks is missing in it.

    Rows that no layout here tells of are left out. Raises PermanentError where a row is damaged.

    >>> layout = RowLayout((("distance", "numeric"), ("carrier", "categorical")))
    >>> rows = ColumnBatch(1, {"distance": np.array([np.inf])}, {"carrier": np.array([None], dtype=np.object_)})
    >>> unpack_rows({layout.number: layout}, pack(layout, rows)) == rows
    True
    """
    known = [row for row in packed if is_readable(layouts, row)]
    numbers = np.array([layout_number(row) for row in known], dtype=np.int64)
    numeric: dict[str, NumericColumn] = {}
    text: dict[str, TextColumn] = {}
    for number in np.unique(numbers).tolist():
        places = np.flatnonzero(numbers == number)
        _place_rows(layouts[number], [known[place] for place in places.tolist()], places, len(known), numeric, text)
    return ColumnBatch(len(known), numeric, text)


def _place_rows(
    layout: RowLayout,
    packed: Sequence[bytes],
    places: NDArray[np.intp],
    rows: int,
    numeric: dict[str, NumericColumn],
    text: dict[str, TextColumn],
) -> None:
    end = _HEAD.size + 8 * len(layout.numeric)
    try:
        numbers = np.frombuffer(b"".join([row[_HEAD.size : end] for row in packed]), dtype="<f8")
        numbers = numbers.reshape(len(packed), len(layout.numeric))
        texts = np.array([_texts_decoder.decode(row[end:]) for row in packed], dtype=np.object_)
        texts = texts.reshape(len(packed), len(layout.text))
    except (ValueError, msgspec.MsgspecError) as error:
        raise PermanentError(f"columns of a stored row are damaged: {error}") from error
    for place, name in enumerate(layout.numeric):
        numeric.setdefault(name, np.full(rows, np.nan))[places] = numbers[:, place]
    for place, name in enumerate(layout.text):
        text.setdefault(name, np.full(rows, None, dtype=np.object_))[places] = texts[:, place]


def _shown(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)
