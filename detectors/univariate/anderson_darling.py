"""Two-sample Anderson-Darling test on bins: as Cramer-von Mises, but each place counts by how surely it is known.

The tails, where distribution functions can differ little, weigh as much as the middle: the test to choose where extreme
values matter. Missing values are the last step of the order. The p-value takes the ties in (``quadratic_form.py``).

Source: F. W. Scholz, M. A. Stephens, K-sample Anderson-Darling tests, JASA 82, 1987 (formula 6, the mean of both
directions of the order).

>>> import numpy as np
>>> sample = ColumnSample("x", "numeric", np.array([0, 50, 50, 0, 0]), np.array([0, 10, 90, 0, 0]))
>>> evidence = anderson_darling(sample)
>>> round(evidence.statistic, 2), evidence.p_value < 1e-6
(19.05, True)
"""

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.quadratic_form import steps


def anderson_darling(sample: ColumnSample) -> Evidence:
    """A squared, at least 0, with its p-value; larger is worse."""
    seen = steps(sample.reference, sample.current)
    weights = seen.masses / (seen.pooled * (1.0 - seen.pooled))
    return Evidence(seen.square(weights), "larger_is_worse", seen.p_value(weights))
