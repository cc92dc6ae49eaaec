"""Intervals for shares and for the difference of two shares, which stay honest at small counts and at 0 and 1.

Sources: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927; R. G. Newcombe,
Interval estimation for the difference between independent proportions (method 10), 1998.

>>> interval = wilson(8, 10)
>>> round(interval.value, 2), round(interval.lower, 2), round(interval.upper, 2)
(0.8, 0.49, 0.94)
"""

import math

from driftline.results import Interval

#: The normal quantile of 95 % intervals.
Z_95 = 1.959963984540054


def wilson(hits: float, trials: float, z: float = Z_95) -> Interval:
    """The share ``hits / trials`` with its Wilson score interval; (0, 0, 1) without trials."""
    return Interval(*_wilson(hits, trials, z))


def _wilson(hits: float, trials: float, z: float) -> tuple[float, float, float]:
    if trials <= 0:
        return 0.0, 0.0, 1.0
    hits, trials = float(hits), float(trials)  # whoever keeps the ends wants numbers of Python, not of NumPy
    share = min(1.0, max(0.0, hits / trials))
    shrink = 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrink
    return share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def difference(hits: int, trials: int, hits_before: int, trials_before: int) -> Interval:
    """How much larger the first share is than the second, in [-1, 1], with Newcombe's interval."""
    now, lower, upper = _wilson(hits, trials, Z_95)
    before, lower_before, upper_before = _wilson(hits_before, trials_before, Z_95)
    gap = now - before
    down = math.hypot(now - lower, upper_before - before)
    up = math.hypot(upper - now, before - lower_before)
    return Interval(gap, max(-1.0, gap - down), min(1.0, gap + up))
