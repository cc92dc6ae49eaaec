"""Population stability index: the two-sided Kullback-Leibler divergence of two tables of shares, in nats.

Numeric columns are seen in about ten groups of equal reference mass, and infinite and missing values. Half a row is
added to every cell, so that an empty cell gives a large number and never infinity. The usual rule ("above 0.2 is
drift") calls small samples drifted: of two samples of one distribution the index is about ``1/n + 1/m`` times a
chi-square with (cells - 1) degrees of freedom. That law gives the p-value here.

Source: B. Yurdakul, Statistical properties of population stability index, 2018.

>>> float(stability_index(np.array([0.5, 0.5]), np.array([0.4, 0.6])).round(4))
0.0405
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import tables


def psi(sample: ColumnSample) -> Evidence:
    """The index, at least 0 and 0 only for equal shares, with its p-value; larger is worse."""
    return psi_of_columns(alone(sample))[0]


def psi_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    counts = tables(columns)
    indexes, of_dense = counts.compared(stability_index)
    return ColumnsEvidence(indexes, counts.p_values(of_dense / counts.scale))


def stability_index(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The index of two tables of shares above zero, shape (..., cells), each row summing to one."""
    index: NDArray[np.float64] = ((observed - expected) * np.log(observed / expected)).sum(axis=-1)
    return index
