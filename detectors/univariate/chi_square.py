"""Chi-square test of homogeneity: do reference and window share one table of frequencies?

Both samples are treated as samples (the reference is no known truth, which is what makes the usual goodness-of-fit
variant call half of all undrifted windows drifted). Unseen and missing are cells; sparse cells are pooled or tested
exactly (``tables.py``). Numeric columns are seen in about ten groups of equal reference mass.

Source: K. Pearson, On the probability that two independent distributions of frequency are really samples from the same
population, Biometrika 8, 1911.

>>> import numpy as np
>>> sample = ColumnSample("c", "categorical", np.array([50, 50, 0, 0]), np.array([30, 70, 0, 0]))
>>> round(chi_square(sample).statistic, 3)
8.333
"""

from detectors.statistics.columns import Columns, ColumnsEvidence, alone
from detectors.statistics.count_passes import homogeneities
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import tables


def chi_square(sample: ColumnSample) -> Evidence:
    """Pearson's statistic over the dense cells, at least 0, with the p-value over all cells; larger is worse."""
    return chi_square_of_columns(alone(sample))[0]


def chi_square_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns."""
    counts = tables(columns)
    statistics = homogeneities(counts.counted.rows, counts.counted.dense)
    return ColumnsEvidence(statistics, counts.p_values(statistics))
