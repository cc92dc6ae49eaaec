"""Outlier score of a row: how far its fifth nearest reference row is, in units of the columns' deviations.

Made for vectors whose columns mean something together, such as embeddings: whatever form the reference has, a row near
some of it is usual. Of the reference 1,000 rows drawn at random are kept. A missing value counts as the column's mean.

Source: S. Ramaswamy, R. Rastogi, K. Shim, Efficient algorithms for mining outliers from large data sets, 2000.

>>> rng = np.random.default_rng(0)
>>> found = fit_knn(rng.normal(size=(1000, 2)), rng).scores(np.array([[0.0, 0.0], [9.0, 0.0]]))
>>> bool(found[0] < 0.5 < 5.0 < found[1])
True
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.outliers.model import FAR, Entry

NEIGHBOURS = 5
KEPT_ROWS = 1000
# Distances to so many rows at once stay in the second-level cache.
_PIECE = 128
# Squared distances below this share of a row's squared length are none.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Neighbours:
    """``mean`` and ``deviation`` per column, and the ``kept`` reference rows in these units, shape (kept, columns)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    kept: NDArray[np.float64]
    _lengths: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lengths", np.einsum("ij,ij->i", self.kept, self.kept))

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`detectors.outliers.model.Scorer`."""
        standard = (rows - self.mean) / self.deviation
        standard[np.isnan(standard)] = 0.0
        np.clip(standard, -FAR, FAR, out=standard)
        place = min(NEIGHBOURS, len(self.kept)) - 1
        found = np.empty(len(rows))
        for start in range(0, len(rows), _PIECE):
            piece = standard[start : start + _PIECE]
            squares = self._lengths - 2.0 * (piece @ self.kept.T)
            lengths = np.einsum("ij,ij->i", piece, piece)
            nearest = np.partition(squares, place, axis=1)[:, place] + lengths
            # What rounding leaves of no distance would be its root, and one row's another than the next one's.
            found[start : start + _PIECE] = np.sqrt(np.where(nearest > _ROUNDING * lengths, nearest, 0.0))
        return found

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See :class:`detectors.outliers.model.Scorer`."""
        return {"mean": self.mean, "deviation": self.deviation, "kept": self.kept}


def fit_knn(rows: NDArray[np.float64], rng: np.random.Generator) -> Neighbours:
    """See :class:`detectors.outliers.model.Fitter`."""
    mean, deviation = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    standard = (rows - mean) / deviation
    standard[np.isnan(standard)] = 0.0
    chosen = np.sort(rng.choice(len(rows), min(KEPT_ROWS, len(rows)), replace=False))
    return Neighbours(mean, deviation, standard[chosen])


def _restore(arrays: Mapping[str, NDArray[Any]]) -> Neighbours:
    return Neighbours(arrays["mean"], arrays["deviation"], arrays["kept"])


ENTRY = Entry("knn", fit_knn, _restore)
