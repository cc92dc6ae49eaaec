"""Vectors that are watched as wholes, such as embeddings: what is expected of one, and what a window keeps of it.

A window keeps two things, both counts that add up exactly: the sums of random features of its vectors
(``random_features.py``), which any change of their distribution moves, and, as a numeric column like any other, how far
each vector is from the nearest of the reference's centres. Neither the vectors nor anything as long as them is kept.

The centres are those of k-means on some of the reference rows. These rows lie closer to the centres than any others
would, so in the reference's counts each has the distance of a row that was not among them, chosen by chance.

Source: S. Lloyd, Least squares quantization in PCM, 1982; D. Arthur, S. Vassilvitskii, k-means++, 2007, for the start.

>>> rng = np.random.default_rng(0)
>>> rows = ColumnBatch(400, vectors={"e": rng.normal(size=(400, 3))})
>>> known = fit_vector("e", rows, {"": np.ones(400, dtype=bool)}).vector
>>> distances(known, np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0], [np.nan, 0.0, 0.0]])).round(0).tolist()
[1.0, 14.0, nan]
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.counts.feature_reference import ReferenceFeatures, fit_vector_features
from detectors.counts.random_features import count_features
from detectors.counts.summary import Section
from driftline.columns import ColumnBatch, VectorColumn
from driftline.monitors import Monitor

#: Centres at most, and reference rows for each at least.
CENTRES, ROWS_PER_CENTRE = 16, 25
# Of the reference's rows at most a fifth, and no more than so many, give the centres.
_FITTED_SHARE, _FITTED_ROWS = 5, 2000
_ROUNDS = 25
_SEED = 19820301
# The squares of larger numbers have no sum.
_BEYOND = 1e100
# Distances to all centres of so many rows at once stay in the second-level cache.
_PIECE = 512


@dataclass(frozen=True, slots=True)
class WatchedVector:
    """What is expected of a vector: its ``centres``, shape (centres, dimension), and its features by segment."""

    centres: NDArray[np.float64]
    features: ReferenceFeatures


@dataclass(frozen=True, slots=True)
class FittedVector:
    """A fit, with the distances that the reference's own rows count with, shape (rows,)."""

    vector: WatchedVector
    distances: NDArray[np.float64]


def fit_vector(name: str, rows: ColumnBatch, segments: Mapping[str, NDArray[np.bool_]]) -> FittedVector:
    """Fit on reference rows, at least one of which has the vector; the same rows give the same fit."""
    present = has_vector(rows.vectors[name])
    known = rows.take(present)
    values = _tame(known.vectors[name])
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(values))
    fitted = order[: max(1, min(_FITTED_ROWS, len(values) // _FITTED_SHARE))]
    centres = _centres(values[np.sort(fitted)], rng)
    features = fit_vector_features(
        name, replace(known, vectors={name: values}), {key: chosen[present] for key, chosen in segments.items()}
    )
    vector = WatchedVector(centres, features)
    found = distances(vector, rows.vectors[name])
    others = order[len(fitted) :]
    if len(others):
        places = np.flatnonzero(present)
        found[places[fitted]] = found[places[rng.choice(others, len(fitted))]]
    return FittedVector(vector, found)


def has_vector(values: VectorColumn) -> NDArray[np.bool_]:
    """Which rows have a vector, shape (rows,): one that lacks a number is missing as a whole."""
    return np.asarray(~np.isnan(values).any(axis=1))


def distances(vector: WatchedVector, values: VectorColumn) -> NDArray[np.float64]:
    """Each vector's distance to the nearest centre, shape (rows,): NaN where it is missing, infinite where a number is.

    A row's distance is the same in whichever company it comes.
    """
    found = np.empty(len(values))
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = [((piece - centre) ** 2).sum(axis=1) for centre in vector.centres]
        found[start : start + _PIECE] = np.sqrt(np.min(squares, axis=0))
    found[~has_vector(values)] = np.nan
    return found


def with_distances(monitor: Monitor, known: Mapping[str, WatchedVector], rows: ColumnBatch) -> ColumnBatch:
    """The rows with a numeric column for each vector that they have: its distance to the reference's centres."""
    made = {
        spec.distance: distances(known[spec.name], rows.vectors[spec.name])
        for spec in monitor.vectors
        if spec.name in known and spec.name in rows.vectors
    }
    return replace(rows, numeric={**rows.numeric, **made}) if made else rows


def count_vector(name: str, vector: WatchedVector, rows: ColumnBatch) -> Section:
    """The vectors of the rows that have one, then the sum of each feature over them."""
    values = rows.vectors.get(name, np.empty((0, vector.centres.shape[1])))
    present = values[has_vector(values)]
    return count_features(vector.features.map, ColumnBatch(len(present), vectors={name: present}))


def _tame(values: VectorColumn) -> VectorColumn:
    """Infinite numbers as the furthest finite one of their place, and none beyond all measure: there are means."""
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    low, high = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    low[known], high[known] = np.nanmin(finite[:, known], axis=0), np.nanmax(finite[:, known], axis=0)
    return np.clip(values, np.maximum(low, -_BEYOND), np.minimum(high, _BEYOND))


def _centres(values: VectorColumn, rng: np.random.Generator) -> NDArray[np.float64]:
    wanted = max(1, min(CENTRES, len(values) // ROWS_PER_CENTRE))
    centres = _start(values, wanted, rng)
    for _ in range(_ROUNDS):
        nearest = _squares(values, centres).argmin(axis=1)
        moved = np.array(
            [
                values[nearest == place].mean(axis=0) if (nearest == place).any() else centre
                for place, centre in enumerate(centres)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _start(values: VectorColumn, wanted: int, rng: np.random.Generator) -> NDArray[np.float64]:
    chosen = [values[int(rng.integers(len(values)))]]
    while len(chosen) < wanted:
        nearest = _squares(values, np.array(chosen)).min(axis=1)
        total = float(nearest.sum())
        if not total > 0.0:
            break
        chosen.append(values[int(rng.choice(len(values), p=nearest / total))])
    return np.array(chosen)


def _squares(values: VectorColumn, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([((values - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
