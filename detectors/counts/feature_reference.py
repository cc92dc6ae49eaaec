"""What is expected of the features of :mod:`random_features`: their map, their sums, and how much chance moves them.

Made once from the reference rows, always the same for the same rows: projections and the rows that are looked at come
from a fixed seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.counting import numbers
from detectors.counts.layout import Kind
from detectors.counts.random_features import (
    AMPLITUDE,
    VALUE_STEPS,
    WEIGHT_TURN,
    FeatureColumn,
    FeatureMap,
    count_features,
    encode,
)
from driftline.columns import ColumnBatch

#: Random projections; each gives a cosine and a sine. More change the power of the test little (docs/detectors).
PROJECTIONS = 128
_SEED = 20070101
# Rows whose distances give the kernel's width, and rows that give the features' covariance.
_WIDTH_ROWS, _SPREAD_ROWS = 1000, 20_000
# Narrower kernels would see the rounding of values; products could leave 2**53.
_NARROWEST = 1.0 / 16.0
# A normal law's standard deviation from its quartiles.
_QUARTILES = 1.3489795003921634


@dataclass(frozen=True, slots=True)
class ExpectedFeatures:
    """One segment's reference: its ``sums``, and the eigenvalues of the covariance of one row's features, ``spread``,
    largest first, shape (2 * projections,). ``parts``: the same of what no direction that hangs together by itself
    explains, then of what each does, shape (1 + directions, 2 * projections); of none where there is no such direction.
    """

    sums: NDArray[np.int64]
    spread: NDArray[np.float64]
    parts: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True, slots=True)
class ReferenceFeatures:
    """The map of a reference, and what is expected by segment."""

    map: FeatureMap
    expected: Mapping[str, ExpectedFeatures]


def fit_features(
    columns: Sequence[tuple[str, Kind, tuple[str, ...]]],
    rows: ColumnBatch,
    segments: Mapping[str, NDArray[np.bool_]],
    projections: int = PROJECTIONS,
) -> ReferenceFeatures:
    """Fit on reference rows. ``columns``: name, kind and known categories of each; ``segments``: their rows' masks."""
    placed = tuple(_column(name, kind, categories, rows) for name, kind, categories in columns)
    return _fit(placed, rows, segments, projections)


def fit_vector_features(
    name: str, rows: ColumnBatch, segments: Mapping[str, NDArray[np.bool_]], projections: int = PROJECTIONS
) -> ReferenceFeatures:
    """The same of the vector ``name`` alone, which every row has. Its numbers keep their sizes beside each other."""
    values = rows.vectors[name]
    centres = np.zeros(values.shape[1]) if not len(values) else values.mean(axis=0)
    scale = float(np.sqrt(np.mean((values - centres) ** 2))) if len(values) else 0.0
    column = FeatureColumn(name, "vector", scale=scale if scale > 0.0 else 1.0, centres=tuple(centres.tolist()))
    return _fit((column,), rows, segments, projections)


def _fit(
    placed: tuple[FeatureColumn, ...],
    rows: ColumnBatch,
    segments: Mapping[str, NDArray[np.bool_]],
    projections: int,
) -> ReferenceFeatures:
    rng = np.random.default_rng(_SEED)
    places = sum(column.places for column in placed)
    width = _kernel_width(encode(placed, rows.take(_some(rng, rows.rows, _WIDTH_ROWS))))
    turns = rng.standard_normal((places, projections)) / (2.0 * np.pi * width)
    features = FeatureMap(placed, np.rint(turns * WEIGHT_TURN).astype(np.int64))
    expected = {name: _expected(features, rows.take(np.flatnonzero(chosen)), rng) for name, chosen in segments.items()}
    return ReferenceFeatures(features, expected)


def median_width(squares: NDArray[np.float64]) -> float:
    """A Gaussian kernel's standard deviation from the squared distances of different rows: the median's root halved.

    That is what alibi-detect takes, too; 1 where more than half of the rows are equal.
    """
    middle = float(np.median(squares)) if len(squares) else 0.0
    return float(np.sqrt(middle / 2.0)) if middle > 0.0 else 1.0


def _column(name: str, kind: Kind, categories: tuple[str, ...], rows: ColumnBatch) -> FeatureColumn:
    if kind == "categorical":
        return FeatureColumn(name, kind, categories=categories)
    centre, scale = robust_scale(numbers(rows, name))
    return FeatureColumn(name, kind, centre, scale)


def robust_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median and spread of the finite values: by quartiles, or where these are equal by all values, or by size.

    >>> robust_scale(np.array([7.0, 7.0])), robust_scale(np.array([1.0, 3.0, np.inf]))[0], robust_scale(np.empty(0))
    ((7.0, 7.0), 2.0, (0.0, 1.0))
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, middle, high = (float(quantile) for quantile in np.quantile(finite / 4.0, (0.25, 0.5, 0.75)))
    centre, scale = 4.0 * middle, (high - low) * 4.0 / _QUARTILES
    if not scale > 0.0:
        furthest = float(np.abs(finite / 4.0 - middle).max()) or 1.0
        scale = furthest * 4.0 * float(np.sqrt(np.mean(((finite / 4.0 - middle) / furthest) ** 2)))
    if not 0.0 < scale < np.inf:
        scale = abs(centre) or 1.0
    return centre, scale


def _kernel_width(placed: NDArray[np.float64]) -> float:
    vectors = placed / VALUE_STEPS
    lengths = np.einsum("ij,ij->i", vectors, vectors)
    squares = lengths[:, None] + lengths - 2.0 * (vectors @ vectors.T)
    return max(_NARROWEST, median_width(np.maximum(squares[np.triu_indices(len(vectors), 1)], 0.0)))


def _expected(features: FeatureMap, rows: ColumnBatch, rng: np.random.Generator) -> ExpectedFeatures:
    sums = count_features(features, rows).values
    looked_at = rows.take(_some(rng, rows.rows, _SPREAD_ROWS))
    squares, _ = _products(features, looked_at, np.empty((looked_at.rows, 0)))
    return ExpectedFeatures(sums, _spread(squares, looked_at.rows))


def parts_of_spread(
    features: FeatureMap,
    rows: ColumnBatch,
    explaining: Callable[[ColumnBatch], tuple[NDArray[np.float64], NDArray[np.intp]]],
) -> NDArray[np.float64]:
    """``ExpectedFeatures.parts`` of ``rows``. ``explaining``: of some rows what depends on each direction, as functions
    that are orthonormal and of mean 0, shape (rows, functions), and which direction's each is.
    """
    looked_at = rows.take(_some(np.random.default_rng(_SEED), rows.rows, _SPREAD_ROWS))
    functions, directions = explaining(looked_at)
    squares, along = _products(features, looked_at, functions)
    explained = [along[directions == each].T @ along[directions == each] for each in range(int(directions.max()) + 1)]
    return np.array([_spread(part, looked_at.rows) for part in (squares - sum(explained), *explained)])


def _products(
    features: FeatureMap, rows: ColumnBatch, functions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over rows of products of two features, less their means, and of functions, of mean 0, with features."""
    size, start = 2 * features.weights.shape[1], 0
    total, squares, along = np.zeros(size), np.zeros((size, size)), np.zeros((functions.shape[1], size))
    for block in features.features(rows):
        exact = block.astype(np.float64)
        total += exact.sum(axis=0)
        squares += exact.T @ exact
        along += functions[start : start + len(exact)].T @ exact
        start += len(exact)
    return squares - np.outer(total, total) / max(1, rows.rows), along


def _spread(squares: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """The eigenvalues of a covariance of one row's features, from sums of their products over so many rows."""
    covariance = squares / max(1, rows - 1)
    found = np.linalg.eigvalsh(covariance / (AMPLITUDE**2 * len(squares) / 2))[::-1]
    return np.asarray(np.maximum(found, 0.0))


def _some(rng: np.random.Generator, rows: int, limit: int) -> NDArray[np.intp]:
    if rows <= limit:
        return np.arange(rows)
    return np.sort(rng.choice(rows, limit, replace=False))
