"""What the largest difference of two distribution functions says of how many rows come from elsewhere."""

import math

from driftline.results import Interval

# Mean square, and 95 % point, of the law of Kolmogorov.
_MEAN_SQUARE, _POINT = math.pi**2 / 12.0, 1.3580986393225505


def kolmogorov_effect(largest: float, n: float, m: float) -> Interval:
    """The difference found between ``n`` and ``m`` values with chance taken off, and an interval of 95 %.

    No function of rows differs in distribution by more than the rows do, so it is a lower bound of the total variation
    distance. Source: N. Smirnov, 1948, for the law.

    >>> kolmogorov_effect(0.5, 400, 400)
    Interval(value=0.495..., lower=0.403..., upper=0.596...)
    """
    size = math.sqrt(n * m / (n + m))
    value, error = math.sqrt(max(0.0, largest**2 - _MEAN_SQUARE / size**2)), _POINT / size
    return Interval(value, max(0.0, min(value, largest - error)), min(1.0, largest + error))
