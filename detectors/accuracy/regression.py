"""Metrics of regressions from exact sums of errors, each with a 95 % interval.

Error = prediction - label. The mean absolute error, the root mean squared error and the bias are means (or the root of
one), so their sums of squares give their standard errors (central limit theorem, delta method). MAE and RMSE get their
intervals on the logarithmic scale, which keeps them above zero and leaves room upwards where errors are heavy-tailed.
A bootstrap would need the rows again; these intervals need only sums, which merge and can be taken back exactly.
"""

import math

from detectors.accuracy.measure import Measure
from detectors.counts.performance_counts import JUDGED
from detectors.counts.summary import Section, to_float
from detectors.statistics.wilson import Z_95
from driftline.results import Interval


def regression_measures(section: Section) -> tuple[Measure, ...]:
    """MAE, RMSE and bias, in units of the label; none without judged rows."""
    judged = int(section.values[JUDGED])
    if judged <= 0:
        return ()
    error, absolute, square, fourth = (to_float(total) / judged for total in section.sums[:4])
    mse = _on_log_scale(square, fourth - square * square, judged)
    rmse = Interval(math.sqrt(mse.value), math.sqrt(mse.lower), math.sqrt(mse.upper))
    half = Z_95 * math.sqrt(max(0.0, square - error * error) / judged)
    return (
        Measure("mae", _on_log_scale(absolute, square - absolute * absolute, judged), "larger_is_worse"),
        Measure("rmse", rmse, "larger_is_worse"),
        Measure("bias", Interval(error, error - half, error + half), "larger_is_worse"),
    )


def _on_log_scale(mean: float, variance: float, rows: int) -> Interval:
    if mean <= 0.0:
        return Interval(0.0, 0.0, 0.0)
    # Capped, so that a single monstrous error widens the interval without overflowing it.
    factor = math.exp(min(50.0, Z_95 * math.sqrt(max(0.0, variance) / rows) / mean))
    return Interval(mean, mean / factor, mean * factor)
