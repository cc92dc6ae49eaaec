"""Hellinger distance: how far apart the roots of both samples' shares are, in [0, 1].

Bounded as Jensen-Shannon's distance is, and a little surer of cells that are rare on one side. Numeric columns are seen
in about ten groups of equal reference mass. Of two samples of one distribution the squared distance is about
``(1/n + 1/m) / 8`` times a chi-square with (cells - 1) degrees of freedom, which gives the p-value.

Sources: E. Hellinger, Neue Begruendung der Theorie quadratischer Formen, 1909; the law follows from its second-order
term.

>>> round(distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])), 3)
1.0
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import calibrated_p_value, table


def hellinger(sample: ColumnSample) -> Evidence:
    """The distance, in [0, 1], with its p-value; larger is worse."""
    counts = table(sample)
    chi_square = 8.0 * distance(*counts.dense.shares) ** 2 / counts.scale if len(counts.reference) > 1 else 0.0
    return Evidence(distance(*counts.shares), "larger_is_worse", calibrated_p_value(counts, chi_square))


def distance(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    """Hellinger distance of shares of shape (cells,), each summing to one."""
    return math.sqrt(float(((np.sqrt(expected) - np.sqrt(observed)) ** 2).sum()) / 2.0)
