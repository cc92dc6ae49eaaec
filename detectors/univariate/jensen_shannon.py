"""Jensen-Shannon distance: the root of the mean divergence of both samples from their mixture, base 2, in [0, 1].

Numeric columns are seen in about ten groups of equal reference mass. Of two samples of one distribution the divergence
(in nats) is about ``(1/n + 1/m) / 8`` times a chi-square with (cells - 1) degrees of freedom, which gives the p-value;
a fixed threshold instead calls fifty categories drifted in nine windows of ten.

Sources: J. Lin, Divergence measures based on the Shannon entropy, 1991; the law follows from its second-order term.

>>> float(distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(3))
1.0
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import tables


def jensen_shannon(sample: ColumnSample) -> Evidence:
    """The distance, in [0, 1], with its p-value; larger is worse."""
    return jensen_shannon_of_columns(alone(sample))[0]


def jensen_shannon_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    counts = tables(columns)
    divergences, of_dense = counts.compared(divergence)
    return ColumnsEvidence(np.sqrt(divergences / np.log(2.0)), counts.p_values(8.0 * of_dense / counts.scale))


def divergence(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon divergence in nats, in [0, ln 2]; shares of shape (..., cells), each row summing to one."""
    mixture = (expected + observed) / 2.0
    total = (special.rel_entr(expected, mixture) + special.rel_entr(observed, mixture)).sum(axis=-1)
    nats: NDArray[np.float64] = np.maximum(0.0, total / 2.0)
    return nats


def distance(expected: NDArray[np.float64], observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon distance, base 2."""
    found: NDArray[np.float64] = np.sqrt(divergence(expected, observed) / np.log(2.0))
    return found
