"""Outlier score of a row: how rare its values are, each in its own column's histogram, added up (HBOS).

A column is cut at quantiles of the reference, and beyond its ends at steps that grow; a column of few values has a bin
for each. The score of a value is the logarithm of how many times sparser its bin is than the column's densest; a
missing value adds nothing. Blind to values that are usual alone and odd together; its parts can be read by column.

Source: M. Goldstein, A. Dengel, Histogram-based outlier score (HBOS), 2012; here with smoothing by half a row per bin.

>>> rng = np.random.default_rng(0)
>>> found = fit_hbos(rng.normal(size=(1000, 1)), rng).scores(np.array([[0.0], [2.0], [4.0], [np.nan]]))
>>> bool(found[0] < found[1] < found[2]), float(found[3])
(True, 0.0)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.outliers.model import Entry

BINS = 32
# Bins beyond the reference's ends, in units of its range.
_TAILS = np.array([0.05, 0.25, 1.0, 10.0])
_WIDTH = BINS + 2 * len(_TAILS) + 1
# Sparser than this by the densest bin counts as this: a value out of all range must not drown every other column.
_LARGEST = 20.0
_FEW_ROWS = 16


@dataclass(frozen=True, slots=True)
class Histograms:
    """``cuts`` per column, shape (columns, cuts), filled up with infinity; ``rarity`` per bin, (columns, cuts + 1)."""

    cuts: NDArray[np.float64]
    rarity: NDArray[np.float64]

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`detectors.outliers.model.Scorer`."""
        columns = np.arange(rows.shape[1])
        if len(rows) <= _FEW_ROWS:  # all columns at once: a call per column is what a single row would wait for
            bins = (self.cuts <= rows[:, :, None]).sum(axis=2)
        else:
            bins = np.empty(rows.shape, dtype=np.intp)
            for index in columns:
                bins[:, index] = np.searchsorted(self.cuts[index], rows[:, index], side="right")
        found = self.rarity[columns, np.where(np.isnan(rows), 0, bins)]
        total: NDArray[np.float64] = np.where(np.isnan(rows), 0.0, found).sum(axis=1)
        return total

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See :class:`detectors.outliers.model.Scorer`."""
        return {"cuts": self.cuts, "rarity": self.rarity}


def fit_hbos(rows: NDArray[np.float64], _rng: np.random.Generator) -> Histograms:
    """See :class:`detectors.outliers.model.Fitter`."""
    columns = rows.shape[1]
    cuts = np.full((columns, _WIDTH), np.inf)
    rarity = np.full((columns, _WIDTH + 1), _LARGEST)
    for index in range(columns):
        values = np.sort(rows[:, index][~np.isnan(rows[:, index])])
        found = _cuts(values)
        counts = np.diff(np.searchsorted(values, found, side="left"), prepend=0, append=len(values)) + 0.5
        lengths = _lengths(found, values)
        sparse = np.log2(np.max(counts / lengths)) - np.log2(counts / lengths)
        cuts[index, : len(found)] = found
        rarity[index, : len(found) + 1] = np.minimum(sparse, _LARGEST)
    return Histograms(cuts, rarity)


def _cuts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values[0], values[-1]
    distinct = np.unique(values)
    if len(distinct) <= BINS:
        # Between neighbours, so that a value has its bin.
        inner = distinct[:-1] / 2.0 + distinct[1:] / 2.0
    else:
        inner = np.unique(values[np.arange(1, BINS) * len(values) // BINS])
    span = high - low
    with np.errstate(over="ignore"):
        tails = np.concatenate((low - _TAILS * span, high + _TAILS * span))
    cuts = np.unique(np.concatenate(([low, np.nextafter(high, np.inf)], inner, tails)))
    finite: NDArray[np.float64] = cuts[np.isfinite(cuts)][:_WIDTH]
    return finite


def _lengths(cuts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long bins are; of a few values all bins that hold one are as long as one another."""
    lengths = np.diff(cuts)
    ends = lengths[:1], lengths[-1:]
    together = np.concatenate((ends[0] * 10.0, lengths, ends[1] * 10.0))
    if len(np.unique(values)) <= BINS:
        held = np.diff(np.searchsorted(values, cuts, side="left"), prepend=0, append=len(values)) > 0
        together[held] = np.median(together[held])
    return np.maximum(together, 1e-300)


def _restore(arrays: Mapping[str, NDArray[Any]]) -> Histograms:
    return Histograms(arrays["cuts"], arrays["rarity"])


ENTRY = Entry("hbos", fit_hbos, _restore)
