"""Two-sample Kolmogorov-Smirnov test on bins: the largest difference of the two distribution functions.

Missing values are the last step of the order, so a column that goes missing moves the statistic too. On bins the
largest difference can only be found too small (by at most the mass of one bin) and ties make the p-value too large:
the test errs on the quiet side. The p-value is Kolmogorov's limit law with the effective size ``nm / (n + m)``; where
both samples are small, it is exact (scipy).

Source: N. Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948.

>>> sample = ColumnSample("x", "numeric", np.array([0, 50, 50, 0, 0]), np.array([0, 10, 90, 0, 0]))
>>> evidence = ks(sample)
>>> round(evidence.statistic, 3), evidence.p_value < 1e-6
(0.4, True)
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.largest_gaps import largest_gaps

#: Up to this many rows in the larger sample the p-value is exact.
EXACT_ROWS = 200
_CERTAIN = 1.0 - 1e-12


def ks(sample: ColumnSample) -> Evidence:
    """D in [0, 1] and its p-value; a larger D is worse."""
    return ks_of_columns(alone(sample))[0]


def ks_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    distances = largest_gaps(columns).distances
    p_values = special.kolmogorov(distances * np.sqrt(columns.size))
    # Where the limit law is as good as 1, so is the exact one.
    few = np.maximum(columns.before.rows, columns.rows) <= EXACT_ROWS
    for place in np.flatnonzero(few & (p_values < _CERTAIN)) if few.any() else ():
        p_values[place] = _exact(columns.before.counts[place], columns.current[place], float(distances[place]))
    return ColumnsEvidence(distances, p_values)


def _exact(reference: NDArray[np.int64], current: NDArray[np.int64], distance: float) -> float:
    before, now = int(reference.sum()), int(current.sum())
    # Distances are multiples of one over this; any two samples without ties are one multiple apart. Sums that are 1
    # come out above it in scipy here and there, which it takes for a failure, and warns.
    if round(distance * math.lcm(before, now)) <= 1:
        return 1.0
    bins = np.arange(len(reference))
    return float(stats.ks_2samp(np.repeat(bins, reference), np.repeat(bins, current), method="exact").pvalue)
