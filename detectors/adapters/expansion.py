"""Rows again from counts, for libraries that want rows.

A numeric bin becomes its representative value, as often as it was counted; at most ``MAXIMUM_ROWS`` rows, thinned so
that the shares stay (largest remainder). This is an approximation: within a bin all values are one, so a statistic can
differ from that of the raw rows by at most what moves inside the bins (for KS, the mass of one bin, about 1/256).
Missing values become NaN only where the library is asked to see them; these libraries do not, so they are left out, as
are infinite values, and the adapters' p-values speak of the finite values alone.
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample

MAXIMUM_ROWS = 20_000


def finite_rows(sample: ColumnSample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Representative finite values of the reference and of the window, ascending."""
    values = sample.values[1:-2]
    return np.repeat(values, thin(sample.reference[1:-2])), np.repeat(values, thin(sample.current[1:-2]))


def category_codes(sample: ColumnSample) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bin numbers of the reference's and the window's rows; unseen and missing are bins too."""
    codes = np.arange(len(sample.reference))
    return np.repeat(codes, thin(sample.reference)), np.repeat(codes, thin(sample.current))


def thin(counts: NDArray[np.int64], limit: int = MAXIMUM_ROWS) -> NDArray[np.int64]:
    """Counts of the same shares whose sum is at most ``limit``.

    >>> thin(np.array([300, 100, 0]), limit=8).tolist()
    [6, 2, 0]
    """
    total = int(counts.sum())
    if total <= limit:
        return counts
    exact = counts * (limit / total)
    floor: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    rest = limit - int(floor.sum())
    floor[np.argsort(floor - exact, kind="stable")[:rest]] += 1
    return floor
