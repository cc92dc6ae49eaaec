"""Outlier score of a row: its Mahalanobis distance from the reference's mean.

The covariance is factored once (Cholesky, with a small ridge), so that scoring is one matrix product. A missing value
counts as the reference mean: it neither adds to nor takes from the distance. An infinite value counts as a million
standard deviations. Source: P. C. Mahalanobis, On the generalised distance in statistics, 1936.

>>> rng = np.random.default_rng(0)
>>> fit_mahalanobis(rng.normal(size=(1000, 2)), rng).scores(np.array([[0.0, 0.0], [30.0, 0.0]])).round(-1).tolist()
[0.0, 30.0]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.outliers.model import FAR, Entry

_RIDGE = 1e-6
# What is made of so many rows on the way stays in the processor's cache.
_BLOCK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Mahalanobis:
    """The ``mean`` of rows and the ``whitening`` matrix: a score is the length of a whitened row."""

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    _bound: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inverse = np.linalg.inv(self.whitening)
        object.__setattr__(self, "_bound", FAR * np.sqrt(np.einsum("ij,ij->j", inverse, inverse)))

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`detectors.outliers.model.Scorer`."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK_ROWS):
            found[start : start + _BLOCK_ROWS] = self._block_scores(rows[start : start + _BLOCK_ROWS])
        return found

    def _block_scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = rows - self.mean
        centred[np.isnan(centred)] = 0.0
        np.minimum(np.maximum(centred, -self._bound, out=centred), self._bound, out=centred)
        whitened = centred @ self.whitening
        scores: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", whitened, whitened))
        return scores

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See :class:`detectors.outliers.model.Scorer`."""
        return {"mean": self.mean, "whitening": self.whitening}


def fit_mahalanobis(rows: NDArray[np.float64], _rng: np.random.Generator) -> Mahalanobis:
    """See :class:`detectors.outliers.model.Fitter`."""
    mean = np.nanmean(rows, axis=0)
    centred = np.where(np.isnan(rows), 0.0, rows - mean)
    deviation = np.sqrt(np.mean(centred * centred, axis=0))
    standard = centred / deviation
    correlation = standard.T @ standard / len(standard)
    factor = np.linalg.cholesky(correlation + _RIDGE * np.eye(len(mean)))
    return Mahalanobis(mean, np.linalg.inv(factor).T / deviation[:, None])


def _restore(arrays: Mapping[str, NDArray[Any]]) -> Mahalanobis:
    return Mahalanobis(arrays["mean"], arrays["whitening"])


ENTRY = Entry("mahalanobis", fit_mahalanobis, _restore)
