"""Outlier score of a row: its Mahalanobis distance from the reference, over the numeric inputs.

The covariance is factored once (Cholesky, with a small ridge), so that scoring is one matrix product. A missing value
counts as the reference mean: it neither adds to nor takes from the distance. An infinite value counts as a million
standard deviations. A row without any value has no score (NaN). Columns that are constant in the reference are left
out: they have no scale. Source: P. C. Mahalanobis, On the generalised distance in statistics, 1936.

>>> rng = np.random.default_rng(0)
>>> model = fit(("a", "b"), rng.normal(size=(1000, 2)), outlier_rate=0.01).model
>>> model.scores(np.array([[0.0, 0.0], [30.0, 0.0], [np.nan, np.nan]])).round(-1).tolist()
[0.0, 30.0, nan]
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_RIDGE = 1e-6
_FAR = 1e6


@dataclass(frozen=True, slots=True)
class OutlierModel:
    """``columns`` of the rows to score, their ``mean``, the ``whitening`` matrix (a score is the length of a whitened
    row), and the ``threshold`` above which a row is an outlier.
    """

    columns: tuple[str, ...]
    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    threshold: float
    _bound: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inverse = np.linalg.inv(self.whitening)
        object.__setattr__(self, "_bound", _FAR * np.sqrt(np.einsum("ij,ij->j", inverse, inverse)))

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of each row, shape (rows,); ``rows`` of shape (rows, columns). At least 0, NaN without any value."""
        centred = rows - self.mean
        missing = np.isnan(centred)
        centred[missing] = 0.0
        np.minimum(np.maximum(centred, -self._bound, out=centred), self._bound, out=centred)
        whitened = centred @ self.whitening
        scores: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", whitened, whitened))
        scores[missing.all(axis=1)] = np.nan
        return scores


@dataclass(frozen=True, slots=True)
class Fit:
    """The model and the reference rows' own out-of-fold scores."""

    model: OutlierModel
    scores: NDArray[np.float64]


def fit(columns: tuple[str, ...], rows: NDArray[np.float64], outlier_rate: float) -> Fit | None:
    """Fit on reference rows of shape (rows, columns); None where there is nothing to measure with.

    The threshold is the ``1 - outlier_rate`` quantile of scores that each half of the rows gets from the other half:
    rows score too low on a model that has seen them, and the share of outliers would come out too high later.
    """
    finite = np.where(np.isfinite(rows), rows, np.nan)
    usable = np.array([_has_scale(finite[:, index]) for index in range(finite.shape[1])], dtype=bool)
    if not usable.any() or len(rows) < 2 * (int(usable.sum()) + 1):
        return None
    names = tuple(name for name, use in zip(columns, usable, strict=True) if use)
    rows, finite = rows[:, usable], finite[:, usable]
    scores = np.empty(len(rows))
    for fold in (0, 1):
        mean, whitening = _whiten(finite[1 - fold :: 2])
        scores[fold::2] = OutlierModel(names, mean, whitening, np.inf).scores(rows[fold::2])
    known = scores[~np.isnan(scores)]
    mean, whitening = _whiten(finite)
    threshold = float(np.quantile(known, 1.0 - outlier_rate)) if len(known) else np.inf
    return Fit(OutlierModel(names, mean, whitening, threshold), scores)


def _has_scale(column: NDArray[np.float64]) -> bool:
    # Both halves must have a scale, because each is fitted on its own.
    return all(np.nanstd(half) > 0 for half in (column[::2], column[1::2]) if not np.isnan(half).all()) and bool(
        np.isfinite(column[::2]).any() and np.isfinite(column[1::2]).any()
    )


def _whiten(finite: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = np.nanmean(finite, axis=0)
    centred = np.where(np.isnan(finite), 0.0, finite - mean)
    deviation = np.sqrt(np.mean(centred * centred, axis=0))
    standard = centred / deviation
    correlation = standard.T @ standard / len(standard)
    factor = np.linalg.cholesky(correlation + _RIDGE * np.eye(len(mean)))
    whitening: NDArray[np.float64] = np.linalg.inv(factor).T / deviation[:, None]
    return mean, whitening
