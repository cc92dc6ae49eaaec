"""How large an effect must be to be found: what a quiet window with few rows can and cannot say.

The smallest effect (as ``effect_size.py`` measures it) that a window finds with a probability of 80 %, in the least
favourable place: for numbers, a difference at the middle of the distribution, where it is known worst, by Kolmogorov's
law; for categories, rows that go from one half of the table to the other, by the noncentral chi-square.

Source: J. Cohen, Statistical power analysis for the behavioral sciences, 1988.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.columns import Columns, alone
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.tables import tables

POWER = 0.8
_HALF = 0.5


def detectable_effect(sample: ColumnSample, false_alarm_rate: float) -> float:
    """In [0, 1]; ``false_alarm_rate`` is that of this column alone.

    >>> few = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 50, 50, 0, 0]))
    >>> many = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 2500, 2500, 0, 0]))
    >>> round(detectable_effect(few, 0.05), 2), round(detectable_effect(many, 0.05), 2)
    (0.18, 0.03)
    """
    return float(detectable_effects(alone(sample), false_alarm_rate)[0])


def detectable_effects(columns: Columns, false_alarm_rate: float) -> NDArray[np.float64]:
    """The same of several columns, shape (columns,)."""
    sizes = np.sqrt(columns.size)
    if columns.before.kind == "numeric":
        effects = (special.kolmogi(false_alarm_rate) + _HALF * special.ndtri(POWER)) / sizes
    else:
        freedom = tables(columns).freedom
        noncentrality = special.chndtrinc(special.chdtri(freedom, false_alarm_rate), freedom, 1.0 - POWER)
        effects = _HALF * np.sqrt(noncentrality) / sizes
    found: NDArray[np.float64] = np.minimum(1.0, effects)
    return found
