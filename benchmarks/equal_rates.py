"""What tests find where all of them alarm equally often without a change."""

import numpy as np
from numpy.typing import NDArray

RATE = 0.05


def found_at_rate(quiet: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each value (small ones alarm) is an alarm at the threshold that alarms in RATE of the quiet ones.

    Values at the threshold alarm as often as that takes: a statistic that is rarely the same has no advantage.

    >>> found_at_rate(np.array([0.0] + [1.0] * 19), np.array([0.0, 1.0])).tolist()
    [1.0, 0.0]
    >>> found_at_rate(np.repeat([0.0, 1.0], 10), np.array([0.0, 1.0])).tolist()
    [0.1, 0.0]
    """
    threshold = np.quantile(quiet, RATE, method="inverted_cdf")
    below, at = float((quiet < threshold).mean()), float((quiet == threshold).mean())
    likely: NDArray[np.float64] = (values < threshold) + (values == threshold) * ((RATE - below) / at)
    return likely
