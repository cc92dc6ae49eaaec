"""Hellinger distance: how far apart the roots of both samples' shares are, in [0, 1].

Bounded as Jensen-Shannon's distance is, and a little surer of cells that are rare on one side. Numeric columns are seen
in about ten groups of equal reference mass. Of two samples of one distribution the squared distance is about
``(1/n + 1/m) / 8`` times a chi-square with (cells - 1) degrees of freedom, which gives the p-value.

Sources: E. Hellinger, Neue Begruendung der Theorie quadratischer Formen, 1909; the law follows from its second-order
term.

>>> float(distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(3))
1.0
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import tables


def hellinger(sample: ColumnSample) -> Evidence:
    """The distance, in [0, 1], with its p-value; larger is worse."""
    return hellinger_of_columns(alone(sample))[0]


def hellinger_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    counts = tables(columns)
    distances, of_dense = counts.compared(distance)
    return ColumnsEvidence(distances, counts.p_values(8.0 * of_dense**2 / counts.scale))


def distance(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hellinger distance of shares of shape (..., cells), each row summing to one."""
    found: NDArray[np.float64] = np.sqrt(((np.sqrt(expected) - np.sqrt(observed)) ** 2).sum(axis=-1) / 2.0)
    return found
