"""How many neighbouring rows say as much as one: of a slow signal, or where clients send several alike in a row.

Whoever takes such rows for independent calls windows drifted that are not: twenty that hang together make the spread of
a window's shares that of twenty times fewer rows.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft, special, stats

from detectors.counts.binning import category
from detectors.offline.column_roles import as_numbers

#: Rows that are looked at, from the first on.
_MOST_ROWS = 100_000
#: The sum of correlations goes over this many times what it comes to (Sokal, Monte Carlo Methods in Statistical
#: Mechanics, 1997, section 3), and over no more than one row of so many; beyond, a season or a slow change is at work.
_WINDOW, _LAGS_OF_ROWS = 5.0, 8
#: Categories whose coming and going is followed, the most frequent ones.
_CATEGORIES = 16
#: Columns that are called so by chance, of all references whose rows are independent.
_BY_CHANCE = 0.001


def rows_together(values: NDArray[np.float64], columns: int = 1) -> int:
    """Neighbouring rows that hang together, 1: none do, as far as ``values`` can tell; shape (rows, series).

    The variance of a mean of such rows over that of independent ones, rounded up: one and twice the sum of the
    correlations with the rows behind. ``columns``: so many are asked in all, which shares the chance to err among them.

    >>> rng = np.random.default_rng(1)
    >>> rows_together(rng.normal(size=(5000, 1)))
    1
    >>> 5 <= rows_together(np.repeat(rng.normal(size=(1000, 1)), 5, axis=0)) <= 7
    True
    """
    rows = len(values)
    correlations = _correlations(values, rows // _LAGS_OF_ROWS)
    sums = 1.0 + 2.0 * np.cumsum(correlations)
    lags = np.arange(1, len(sums) + 1)
    far_enough = (lags >= _WINDOW * sums).nonzero()[0]
    if not len(far_enough):
        return 1
    lag, found = int(lags[far_enough[0]]), float(sums[far_enough[0]])
    error = np.sqrt(2.0 * (2.0 * lag + 1.0) / rows)  # of independent rows, about which the question is
    if found <= 1.0 + error * -special.ndtri(_BY_CHANCE / columns):
        return 1
    return int(np.ceil(found))


def _correlations(values: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """With the rows 1 to ``lags`` behind, all series together; none where nothing varies."""
    rows = len(values)
    if lags < 1:
        return np.empty(0)
    centred = values - values.mean(axis=0)
    size = fft.next_fast_len(2 * rows, real=True)
    spectra = np.abs(fft.rfft(centred, size, axis=0)) ** 2
    covariances = fft.irfft(spectra.sum(axis=1), size)[: lags + 1] / rows
    if covariances[0] <= 1e-12:
        return np.empty(0)
    return np.asarray(covariances[1:] / covariances[0], dtype=np.float64)


def most_together(frame: pd.DataFrame, columns: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """The column of which most rows hang together, and how many; ``columns``: name and type; absent ones are not asked.

    No column and 1 where none do. Rows are taken as they lie in ``frame``; numbers by their ranks, categories by which
    of them a row is.
    """
    asked = [(name, kind) for name, kind in columns if name in frame]
    head = frame.iloc[:_MOST_ROWS]
    found = [(rows_together(_series(head[name], kind), len(asked)), name) for name, kind in asked]
    most, name = max(found, default=(1, ""))
    return (name, most) if most > 1 else ("", 1)


def _series(column: pd.Series, kind: str) -> NDArray[np.float64]:
    if kind == "numeric":
        numbers = as_numbers(column)
        ranks = stats.rankdata(numbers[np.isfinite(numbers)])
        return np.asarray(ranks / max(len(ranks), 1), dtype=np.float64)[:, None]
    values = column.map(category)
    frequent = values.value_counts().index[:_CATEGORIES]
    return np.asarray(values.to_numpy()[:, None] == frequent.to_numpy()[None, :], dtype=np.float64)
