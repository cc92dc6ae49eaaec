"""G-test of homogeneity: the likelihood-ratio twin of chi-square.

Twice the information that the two samples hold about which of them a row belongs to, so it adds up over nested
groupings; surer than chi-square of categories that vanish. Williams' correction keeps its false alarms where cells are
few. Both samples are samples; sparse cells are pooled or tested exactly (``tables.py``).

Sources: R. R. Sokal, F. J. Rohlf, Biometry, 1981; D. A. Williams, Improved likelihood ratio tests for complete
contingency tables, Biometrika 63, 1976.

>>> sample = ColumnSample("c", "categorical", np.array([50, 50, 0, 0]), np.array([30, 70, 0, 0]))
>>> round(g_test(sample).statistic, 3)
8.336
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import tables


def g_test(sample: ColumnSample) -> Evidence:
    """G with Williams' correction over the dense cells, at least 0, with the p-value over all; larger is worse."""
    return g_test_of_columns(alone(sample))[0]


def g_test_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    counts = tables(columns)
    before, now = counts.of_dense
    statistics = likelihood_ratio(before, now) / williams(before, now)
    return ColumnsEvidence(statistics, counts.p_values(statistics))


def likelihood_ratio(reference: NDArray[np.float64], current: NDArray[np.float64]) -> NDArray[np.float64]:
    """G of tables of two rows, shape (..., cells) each; cells empty in both add nothing, and an empty row gives 0."""
    together = reference + current
    share = (current.sum(axis=-1) / np.maximum(together.sum(axis=-1), 1))[..., None]
    found = special.rel_entr(reference, together * (1.0 - share)) + special.rel_entr(current, together * share)
    statistic: NDArray[np.float64] = np.maximum(0.0, 2.0 * found.sum(axis=-1))
    return statistic


def williams(reference: NDArray[np.float64], current: NDArray[np.float64]) -> NDArray[np.float64]:
    """What G is divided by, a little above 1; 1 where there are too few cells or rows for any G."""
    together = reference + current
    used = together > 0
    rows, cells = together.sum(axis=-1), used.sum(axis=-1)
    before, now = np.maximum(reference.sum(axis=-1), 1), np.maximum(current.sum(axis=-1), 1)
    by_row = rows / before + rows / now - 1.0
    by_cell = (rows[..., None] / np.where(used, together, np.inf)).sum(axis=-1) - 1.0
    correction = by_row * by_cell / (6.0 * np.maximum(rows, 1.0) * np.maximum(cells - 1, 1))
    return np.where(cells > 1, 1.0 + correction, 1.0)
