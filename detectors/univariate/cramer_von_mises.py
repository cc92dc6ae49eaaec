"""Two-sample Cramer-von Mises test on bins: the squared difference of the distribution functions, averaged over rows.

It looks at the whole distribution where Kolmogorov-Smirnov looks at one place, and so has more power against shifts
that are small everywhere. Missing values are the last step of the order. The p-value takes the ties in
(``quadratic_form.py``).

Source: T. W. Anderson, On the distribution of the two-sample Cramer-von Mises criterion, 1962.

>>> import numpy as np
>>> sample = ColumnSample("x", "numeric", np.array([0, 50, 50, 0, 0]), np.array([0, 10, 90, 0, 0]))
>>> evidence = cramer_von_mises(sample)
>>> round(evidence.statistic, 3), evidence.p_value < 1e-6
(4.0, True)
"""

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.quadratic_form import steps


def cramer_von_mises(sample: ColumnSample) -> Evidence:
    """T, at least 0, with its p-value; larger is worse."""
    seen = steps(sample.reference, sample.current)
    return Evidence(seen.square(seen.masses), "larger_is_worse", seen.p_value(seen.masses))
