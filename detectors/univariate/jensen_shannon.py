"""Jensen-Shannon distance: the root of the mean divergence of both samples from their mixture, base 2, in [0, 1].

Numeric columns are seen in about ten groups of equal reference mass. Of two samples of one distribution the divergence
(in nats) is about ``(1/n + 1/m) / 8`` times a chi-square with (cells - 1) degrees of freedom, which gives the p-value;
a fixed threshold instead calls fifty categories drifted in nine windows of ten.

Sources: J. Lin, Divergence measures based on the Shannon entropy, 1991; the law follows from its second-order term.

>>> round(distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])), 3)
1.0
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import calibrated_p_value, table


def jensen_shannon(sample: ColumnSample) -> Evidence:
    """The distance, in [0, 1], with its p-value; larger is worse."""
    counts = table(sample)
    statistic = distance(*counts.shares)
    chi_square = 8.0 * divergence(*counts.dense.shares) / counts.scale if len(counts.reference) > 1 else 0.0
    return Evidence(statistic, "larger_is_worse", calibrated_p_value(counts, chi_square))


def divergence(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence in nats, in [0, ln 2]; shares of shape (cells,), each summing to one."""
    mixture = (expected + observed) / 2.0
    total = special.rel_entr(expected, mixture).sum() + special.rel_entr(observed, mixture).sum()
    return max(0.0, float(total) / 2.0)


def distance(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance, base 2."""
    return math.sqrt(divergence(expected, observed) / math.log(2.0))
