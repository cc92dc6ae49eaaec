"""Population stability index: the two-sided Kullback-Leibler divergence of two tables of shares, in nats.

Numeric columns are seen in about ten groups of equal reference mass, and infinite and missing values. Half a row is
added to every cell, so that an empty cell gives a large number and never infinity. The usual rule ("above 0.2 is
drift") calls small samples drifted: of two samples of one distribution the index is about ``1/n + 1/m`` times a
chi-square with (cells - 1) degrees of freedom. That law gives the p-value here.

Source: B. Yurdakul, Statistical properties of population stability index, 2018.

>>> round(stability_index(np.array([0.5, 0.5]), np.array([0.4, 0.6])), 4)
0.0405
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import calibrated_p_value, table


def psi(sample: ColumnSample) -> Evidence:
    """The index, at least 0 and 0 only for equal shares, with its p-value; larger is worse."""
    counts = table(sample)
    statistic = stability_index(*counts.shares)
    chi_square = stability_index(*counts.dense.shares) / counts.scale if len(counts.reference) > 1 else 0.0
    return Evidence(statistic, "larger_is_worse", calibrated_p_value(counts, chi_square))


def stability_index(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    """The index of two vectors of shares above zero, shape (cells,), each summing to one."""
    return float(((observed - expected) * np.log(observed / expected)).sum())
