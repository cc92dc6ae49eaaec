"""Chi-square test of homogeneity: do reference and window share one table of frequencies?

Both samples are treated as samples (the reference is no known truth, which is what makes the usual goodness-of-fit
variant call half of all undrifted windows drifted). Unseen and missing are cells; sparse cells are pooled or tested
exactly (``tables.py``). Numeric columns are seen in about ten groups of equal reference mass.

Source: K. Pearson, On the probability that two independent distributions of frequency are really samples from the same
population, Biometrika 8, 1911.

>>> sample = ColumnSample("c", "categorical", np.array([50, 50, 0, 0]), np.array([30, 70, 0, 0]))
>>> round(chi_square(sample).statistic, 3)
8.333
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import calibrated_p_value, table


def chi_square(sample: ColumnSample) -> Evidence:
    """Pearson's statistic over the dense cells, at least 0, with the p-value over all cells; larger is worse."""
    counts = table(sample)
    statistic = homogeneity(counts.reference, counts.current) if len(counts.reference) > 1 else 0.0
    return Evidence(statistic, "larger_is_worse", calibrated_p_value(counts, statistic))


def homogeneity(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Pearson's chi-square of a table of two rows, shape (cells,) each, no cell empty in both."""
    together = reference + current
    n, m = reference.sum(), current.sum()
    if n == 0 or m == 0:
        return 0.0
    expected = together * (m / (n + m))
    # Both rows of the table miss their expectation by the same number of rows, so one difference serves both.
    return float((((current - expected) ** 2) / expected).sum() * (n + m) / n)
