"""How large an effect must be to be found: what a quiet window with few rows can and cannot say.

The smallest effect (as ``effect_size.py`` measures it) that a window finds with a probability of 80 %, in the least
favourable place: for numbers, a difference at the middle of the distribution, where it is known worst, by Kolmogorov's
law; for categories, rows that go from one half of the table to the other, by the noncentral chi-square.

Source: J. Cohen, Statistical power analysis for the behavioral sciences, 1988.
"""

import math

from scipy import special

from detectors.statistics.columns import alone
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.tables import tables

POWER = 0.8
_HALF = 0.5


def detectable_effect(sample: ColumnSample, false_alarm_rate: float) -> float:
    """In [0, 1]; ``false_alarm_rate`` is that of this column alone.

    >>> import numpy as np
    >>> few = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 50, 50, 0, 0]))
    >>> many = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 2500, 2500, 0, 0]))
    >>> round(detectable_effect(few, 0.05), 2), round(detectable_effect(many, 0.05), 2)
    (0.18, 0.03)
    """
    n, m = sample.reference_rows, sample.current_rows
    size = math.sqrt(n * m / (n + m))
    if sample.kind == "numeric":
        critical = float(special.kolmogi(false_alarm_rate))
        return min(1.0, (critical + _HALF * float(special.ndtri(POWER))) / size)
    freedom = max(1, int(tables(alone(sample)).cells[0]) - 1)
    critical = float(special.chdtri(freedom, false_alarm_rate))
    noncentrality = float(special.chndtrinc(critical, freedom, 1.0 - POWER))
    return min(1.0, _HALF * math.sqrt(noncentrality) / size)
