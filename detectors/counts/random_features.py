"""Rows as sums of random features: what all columns together look like, in whole numbers that add up.

A row is a vector: each numeric column in units of its reference's spread, with a place of its own that is 1 where the
value is missing (which otherwise counts as the reference's median); each category a place that is 1; an embedding's
numbers, all in one unit. The cosines and
sines of random projections of it are features whose means, over many rows, tell any two distributions apart: the
squared distance of two windows' means is, in expectation over the projections, the maximum mean discrepancy with a
Gaussian kernel. Source: A. Rahimi, B. Recht, Random features for large-scale kernel machines, 2007.

All of it is whole numbers: values are rounded to 1/128, projections to 2**-24 turns, angles to 1/4096 turn, and cosines
to 1/1000. Their sums and products stay below 2**53, so that float64 holds them without rounding and neither the order
of the rows nor the way a library multiplies matrices changes a digit.

>>> table = FeatureMap((FeatureColumn("x", "numeric"),), np.zeros((2, 4), dtype=np.int64))
>>> count_features(table, ColumnBatch(3, {"x": np.array([1.0, np.nan, np.inf])})).values.tolist()
[3, 3000, 3000, 3000, 3000, 0, 0, 0, 0]
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import category
from detectors.counts.counting import matrix, texts
from detectors.counts.layout import Kind
from detectors.counts.summary import Section
from driftline.columns import ColumnBatch

#: As monitors name the test that needs these sums.
NAME = "mmd_features"
#: Vector position before the features' sums: rows.
ROWS = 0
_HEAD = 1
#: The sum over one row of a feature that is 1.
AMPLITUDE = 1000
#: Values this many spreads from the reference's median, and further ones, are the same.
FURTHEST = 8.0
#: A turn of a projection's weight, and the part of one spread that a value is rounded to.
WEIGHT_TURN, VALUE_STEPS = 1 << 24, 128
_ANGLES = 4096
_TURN = WEIGHT_TURN * VALUE_STEPS
_ANGLE_SHIFT = _TURN.bit_length() - _ANGLES.bit_length()
# So many rows' features, and no more, are in memory at once; their sums stay exact in float32: 4096 * 1000 < 2**24.
_BLOCK_ROWS = 4096
_BLOCK_PLACES = 1 << 22
_ANGLE = np.arange(_ANGLES) * (2.0 * np.pi / _ANGLES)
_COSINES = np.rint(AMPLITUDE * np.cos(_ANGLE)).astype(np.float32)
_SINES = np.rint(AMPLITUDE * np.sin(_ANGLE)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """How a column becomes numbers: ``(value - centre) / scale``, or the place of its category.

    ``centres``: of a vector, whose numbers have one scale together.
    """

    name: str
    kind: Kind | Literal["vector"]
    centre: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    centres: tuple[float, ...] = ()
    codes: dict[str, int] = field(init=False, repr=False, compare=False)
    places: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", {name: code for code, name in enumerate(self.categories)})
        places = {"numeric": 2, "categorical": len(self.categories) + 2, "vector": len(self.centres)}
        object.__setattr__(self, "places", places[self.kind])


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """From rows to features. ``weights``: of each place in each projection, in turns / 2**24, (places, projections)."""

    columns: tuple[FeatureColumn, ...]
    weights: NDArray[np.int64]
    fingerprint: str = field(init=False)
    _weights: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", _fingerprint(self))
        object.__setattr__(self, "_weights", self.weights.astype(np.float64))

    @property
    def size(self) -> int:
        """How many numbers a window's sums are."""
        return _HEAD + 2 * int(self.weights.shape[1])

    def features(self, rows: ColumnBatch) -> Iterator[NDArray[np.float32]]:
        """The rows' features, block by block, shape (rows of the block, 2 * projections), whole numbers."""
        block_rows = max(1, min(_BLOCK_ROWS, _BLOCK_PLACES // max(1, len(self.weights))))
        for start in range(0, rows.rows, block_rows):
            block = rows.take(np.arange(start, min(start + block_rows, rows.rows)))
            turns = (encode(self.columns, block) @ self._weights).astype(np.int64)
            angles = (turns >> _ANGLE_SHIFT) & (_ANGLES - 1)
            yield np.concatenate((_COSINES[angles], _SINES[angles]), axis=1)


def count_features(features: FeatureMap, rows: ColumnBatch) -> Section:
    """Rows, then the sum of each feature over them."""
    values = np.zeros(features.size, dtype=np.int64)
    values[ROWS] = rows.rows
    for block in features.features(rows):
        values[_HEAD:] += (np.ones(len(block), dtype=np.float32) @ block).astype(np.int64)
    return Section(values)


def feature_means(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean row in the space of features, shape (2 * projections,), from sums over at least one row.

    Each row's squared length there is 1, as a Gaussian kernel of a row with itself.
    """
    sums = values[_HEAD:]
    return np.asarray(sums / (float(values[ROWS]) * AMPLITUDE * np.sqrt(len(sums) / 2)), dtype=np.float64)


def encode(columns: tuple[FeatureColumn, ...], rows: ColumnBatch) -> NDArray[np.float64]:
    """The rows as vectors in units of 1/128, shape (rows, places of all columns); no row may lack a column's vector."""
    starts = np.cumsum([0, *(column.places for column in columns)])
    placed = np.zeros((rows.rows, int(starts[-1])))
    numeric = [place for place, column in enumerate(columns) if column.kind == "numeric"]
    if numeric:
        values = matrix(rows, [columns[place].name for place in numeric])
        centres = np.array([columns[place].centre for place in numeric])
        scales = np.array([columns[place].scale for place in numeric])
        missing = np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):
            spreads = np.clip((values - centres) / scales, -FURTHEST, FURTHEST)
        placed[:, starts[numeric]] = np.rint(np.where(missing, 0.0, spreads) * VALUE_STEPS)
        placed[:, starts[numeric] + 1] = missing * VALUE_STEPS
    for column, start in zip(columns, starts[:-1], strict=True):
        if column.kind == "categorical":
            placed[np.arange(rows.rows), start + _codes(column, rows)] = VALUE_STEPS
        elif column.kind == "vector":
            with np.errstate(over="ignore", invalid="ignore"):
                moved = (rows.vectors[column.name] - np.array(column.centres)) / column.scale
            placed[:, start : start + column.places] = np.rint(np.clip(moved, -FURTHEST, FURTHEST) * VALUE_STEPS)
    return placed


def _codes(column: FeatureColumn, rows: ColumnBatch) -> NDArray[np.intp]:
    unseen = len(column.categories)
    known: dict[object, int] = {}
    codes = np.empty(rows.rows, dtype=np.intp)
    for place, value in enumerate(texts(rows, column.name)):
        code = known.get(value)
        if code is None:
            name = category(value)
            code = unseen + 1 if name is None else column.codes.get(name, unseen)
            known[value] = code
        codes[place] = code
    return codes


def _fingerprint(features: FeatureMap) -> str:
    digest = hashlib.sha256(b"driftline window features 1")
    for column in features.columns:
        parts = [column.name, column.kind, column.centre, column.scale, column.categories]
        digest.update(json.dumps([*parts, column.centres] if column.centres else parts).encode())
    digest.update(np.ascontiguousarray(features.weights, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]
