"""Metrics of regressions from exact sums of errors, each with a 95 % interval.

Error = prediction - label. The mean absolute error, the root mean squared error and the bias are means (or the root of
one), so their sums of squares give their standard errors (central limit theorem, delta method). MAE and RMSE get their
intervals on the logarithmic scale, which keeps them above zero and leaves room upwards where errors are heavy-tailed.
A bootstrap would need the rows again; these intervals need only sums, which merge and can be taken back exactly.

Quantiles of the error's size come from a histogram of it (19 % wide bins, straight within), with the interval of order
statistics: no law of errors is assumed. R2 is one less the squared error over the labels' variance; its interval is the
delta method's, from sums of both together.
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.measure import Measure
from detectors.counts import performance_counts as at
from detectors.counts.performance_counts import JUDGED, PerformanceLayout
from detectors.counts.summary import Section, to_float
from detectors.statistics.wilson import Z_95, wilson
from driftline.results import Interval


def regression_measures(layout: PerformanceLayout, section: Section) -> tuple[Measure, ...]:
    """MAE, RMSE, bias and quantiles of the error in units of the label, and R2; none without judged rows."""
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
        Measure("median_absolute_error", absolute_quantile(layout, section, 0.5), "larger_is_worse"),
        Measure("p90_absolute_error", absolute_quantile(layout, section, 0.9), "larger_is_worse"),
        *_explained(section, judged),
    )


def absolute_quantile(layout: PerformanceLayout, section: Section, share: float) -> Interval:
    """The size of error that this share of rows does not exceed."""
    counts = error_sizes(section)
    total = int(counts.sum())
    if total <= 0:
        return Interval(0.0, 0.0, 0.0)
    # Where the quantile's own share of rows may lie among so few.
    where = wilson(share * total, total)
    ends = np.exp2(np.arange(at.ERROR_BINS + 1) / at.ERROR_STEPS - at.ERROR_OCTAVES) * layout.scale
    below = np.concatenate(([0], np.cumsum(counts)))

    def value(place: float) -> float:
        bin_ = min(int(np.searchsorted(below, place * total, side="left")), at.ERROR_BINS + 1) - 1
        if bin_ <= 0:
            return 0.0
        inside = (place * total - below[bin_]) / max(counts[bin_], 1)
        return float(ends[bin_ - 1] + (ends[bin_] - ends[bin_ - 1]) * min(max(inside, 0.0), 1.0))

    return Interval(value(share), value(where.lower), value(where.upper))


def error_sizes(section: Section) -> NDArray[np.int64]:
    """Judged rows by the size of their error: none, then in bins of quarters of octaves."""
    signed = np.maximum(section.values[at.ERRORS : at.ERRORS + 2 * at.ERROR_BINS + 1], 0)
    sizes: NDArray[np.int64] = signed[at.ERROR_BINS :].copy()
    sizes[1:] += signed[: at.ERROR_BINS][::-1]
    return sizes


def _explained(section: Section, judged: int) -> list[Measure]:
    """R2, at most 1; nothing where labels do not vary."""
    _, _, square, fourth, first, second, third, power, mixed, mixed_square = (
        to_float(total) / judged for total in section.sums
    )
    variance = second - first * first
    # Below, rounding of the sums is all that is left of it.
    if judged < 3 or variance <= 1e-12 * second:
        return []
    ratio = square / variance
    # Of squared errors and squared deviations of labels: their variances and covariance.
    deviation = power - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4 - variance**2
    together = mixed_square - 2.0 * first * mixed + first**2 * square - square * variance
    spread = (fourth - square**2 - 2.0 * ratio * together + ratio**2 * deviation) / variance**2
    half = Z_95 * math.sqrt(max(spread, 0.0) / judged)
    if not math.isfinite(half):
        return []
    value = 1.0 - ratio
    return [Measure("r2", Interval(value, value - half, min(1.0, value + half)), "smaller_is_worse")]


def _on_log_scale(mean: float, variance: float, rows: int) -> Interval:
    if mean <= 0.0:
        return Interval(0.0, 0.0, 0.0)
    # Capped, so that a single monstrous error widens the interval without overflowing it.
    factor = math.exp(min(50.0, Z_95 * math.sqrt(max(0.0, variance) / rows) / mean))
    return Interval(mean, mean / factor, mean * factor)
