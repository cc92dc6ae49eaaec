"""A fitted outlier model: a method's scores, and the score beyond which a row is an outlier.

The threshold is the quantile of scores that each half of the reference gets from the other half: rows score too low on
a model that has seen them, and the share of outliers would come out too high later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: Values beyond so many deviations count as so many: enough for any threshold, and no overflow.
FAR = 1e6
#: Scores of so many rows are made at once, so that what lies between fits into the second-level cache.
PIECE_ROWS = 2048


class Scorer(Protocol):
    """How unlike the reference rows are: pure, and the same for a row alone as among others."""

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """A score at least 0 for each of ``rows``, shape (rows, columns); NaN is a missing value, infinity is far."""
        ...

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that it consists of, to be kept in a file."""
        ...


class Fitter(Protocol):
    """Fits a scorer to reference rows, NaN where a value is missing or infinite; every column has a scale."""

    def __call__(self, rows: NDArray[np.float64], rng: np.random.Generator, /) -> Scorer:
        """The scorer of these rows."""
        ...


class Restore(Protocol):
    """Makes a scorer of its arrays."""

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> Scorer:
        """The scorer whose :meth:`Scorer.arrays` these are."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A method by its name in monitors."""

    name: str
    fit: Fitter
    restore: Restore


@dataclass(frozen=True, slots=True)
class OutlierModel:
    """``scorer`` of the method ``name`` over these ``columns``; rows that score above ``threshold`` are outliers."""

    name: str
    columns: tuple[str, ...]
    threshold: float
    scorer: Scorer

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score of each row, shape (rows,); ``rows`` of shape (rows, columns). NaN for a row without any value."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            found[start : start + PIECE_ROWS] = self.scorer.scores(piece)
        found[np.isnan(rows).all(axis=1)] = np.nan
        return found


@dataclass(frozen=True, slots=True)
class Fit:
    """The model and the reference rows' own out-of-fold scores."""

    model: OutlierModel
    scores: NDArray[np.float64]


def fit(
    entry: Entry, columns: tuple[str, ...], rows: NDArray[np.float64], outlier_rate: float, rng: np.random.Generator
) -> Fit | None:
    """Fit on reference rows of shape (rows, columns); None where there is nothing to measure with.

    Columns that are constant in either half are left out: they have no scale.
    """
    finite = np.where(np.isfinite(rows), rows, np.nan)
    usable = np.array([_has_scale(finite[:, index]) for index in range(finite.shape[1])], dtype=bool)
    if not usable.any() or len(rows) < 2 * (int(usable.sum()) + 1):
        return None
    names = tuple(name for name, use in zip(columns, usable, strict=True) if use)
    rows, finite = rows[:, usable], finite[:, usable]
    scores = np.empty(len(rows))
    for fold in (0, 1):
        half = OutlierModel(entry.name, names, np.inf, entry.fit(finite[1 - fold :: 2], rng))
        scores[fold::2] = half.scores(rows[fold::2])
    model = OutlierModel(entry.name, names, np.inf, entry.fit(finite, rng))
    # Where many rows are alike (columns of few values), a value has one score in the model and another in either half:
    # above all of theirs, and a fifth of the rows would be outliers in windows and none in the reference.
    threshold = max(_quantile(scores, 1.0 - outlier_rate), _quantile(model.scores(rows), 1.0 - outlier_rate))
    return Fit(replace(model, threshold=threshold), scores)


def _quantile(scores: NDArray[np.float64], share: float) -> float:
    known = scores[~np.isnan(scores)]
    return float(np.quantile(known, share)) if len(known) else np.inf


def _has_scale(column: NDArray[np.float64]) -> bool:
    # Both halves must have a scale, because each is fitted on its own.
    halves = (column[::2], column[1::2])
    if any(np.isnan(half).all() for half in halves):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return all(0.0 < np.nanstd(half) < np.inf for half in halves)
