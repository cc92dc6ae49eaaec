"""Effect sizes: how much of the distribution moved, in [0, 1], whatever the sample sizes.

Numeric columns: the largest difference of the distribution functions. Categorical columns: the total variation
distance, the share of rows that would have to change their category. Both are the difference of one set's shares in
the two samples, the set being chosen to make it large; so both are above zero by chance alone, the more so the smaller
the samples. What chance would give is taken off (in squares, so that large effects hardly change), and the interval is
that of the difference of two shares about what is left.

>>> sample = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 100, 900, 0, 0]))
>>> round(effect_size(sample).value, 2)
0.4
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample
from detectors.statistics.wilson import Z_95
from driftline.results import Interval

# Mean square of the supremum of a Brownian bridge: pi^2 / 12 (the mean square of Kolmogorov's law).
_KOLMOGOROV_SQUARE = math.pi**2 / 12


def effect_size(sample: ColumnSample) -> Interval:
    """The effect size that fits the column's type, with its 95 % interval, all in [0, 1]."""
    n, m = sample.reference_rows, sample.current_rows
    if sample.kind == "numeric":
        below, below_now = sample.below / n, sample.below_now / m
        place = int(np.abs(below - below_now).argmax())
        return _interval(float(below[place]), float(below_now[place]), n, m, _KOLMOGOROV_SQUARE * (1 / n + 1 / m))
    return total_variation(sample.reference / n, sample.current / m, n, m)


def total_variation(before: NDArray[np.float64], now: NDArray[np.float64], n: int, m: int) -> Interval:
    """Total variation distance of shares ``before`` (of n rows) and ``now`` (of m rows), bias taken off."""
    grown = now > before
    together = (before * n + now * m) / (n + m)
    # The mean of |difference| of a cell's shares under no change, by the normal law; half their sum is the distance.
    chance = float(np.sqrt(together * (1 - together) * (2 / math.pi) * (1 / n + 1 / m)).sum()) / 2
    return _interval(float(before[grown].sum()), float(now[grown].sum()), n, m, chance * chance)


def _interval(before: float, now: float, n: int, m: int, chance_square: float) -> Interval:
    raw = abs(now - before)
    value = math.sqrt(max(0.0, raw * raw - chance_square))
    half = Z_95 * math.sqrt(max(0.0, before * (1 - before)) / n + max(0.0, now * (1 - now)) / m)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))
