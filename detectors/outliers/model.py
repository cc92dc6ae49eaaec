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
#: Rows that a scorer and its threshold are made of at most, chosen by chance: more change neither.
FITTED_ROWS = 100_000


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
    halves = [_fitted_rows(rows[fold::2], rng) for fold in (0, 1)]
    whole = _fitted_rows(rows, rng)
    usable = np.array([all(_has_scale(part[:, place]) for part in (*halves, whole)) for place in range(rows.shape[1])])
    if not usable.any() or len(rows) < 2 * (int(usable.sum()) + 1):
        return None
    names = tuple(name for name, use in zip(columns, usable, strict=True) if use)
    if not usable.all():
        rows, whole, halves = rows[:, usable], whole[:, usable], [half[:, usable] for half in halves]
    scores = np.empty(len(rows))
    for fold, other in enumerate(reversed(halves)):
        half = OutlierModel(entry.name, names, np.inf, entry.fit(_finite(other), rng))
        scores[fold::2] = half.scores(rows[fold::2])
    model = OutlierModel(entry.name, names, np.inf, entry.fit(_finite(whole), rng))
    # Where many rows are alike (columns of few values), a value has one score in the model and another in either half:
    # above all of theirs, and a fifth of the rows would be outliers in windows and none in the reference.
    threshold = max(_quantile(scores, 1.0 - outlier_rate), _quantile(model.scores(whole), 1.0 - outlier_rate))
    return Fit(replace(model, threshold=threshold), scores)


def _quantile(scores: NDArray[np.float64], share: float) -> float:
    known = scores[~np.isnan(scores)]
    return float(np.quantile(known, share)) if len(known) else np.inf


def _fitted_rows(rows: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    if len(rows) <= FITTED_ROWS:
        return rows
    return rows[np.sort(rng.choice(len(rows), FITTED_ROWS, replace=False))]


def _finite(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(rows), rows, np.nan)


def _has_scale(column: NDArray[np.float64]) -> bool:
    # Both halves must have a scale, because each is fitted on its own.
    known = column[np.isfinite(column)]
    with np.errstate(over="ignore", invalid="ignore"):
        return len(known) > 0 and 0.0 < float(np.std(known)) < np.inf
