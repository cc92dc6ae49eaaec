"""Metrics of regressions from exact sums of errors, each with a 95 % interval.

Error = prediction - label. The mean absolute error, the root mean squared error and the bias are means (or the root of
one), so their sums of squares give their standard errors (Student's quantiles, delta method); the bias of errors that
lean to one side reaches further there (Hall's transformation, the skewness from the histogram of errors). MAE, RMSE and
what R2 leaves get their intervals on the logarithmic scale, which keeps them above zero and leaves room upwards where
errors are heavy-tailed; of few rows the largest errors have not been seen, so their variances are taken as if some more
had been. Where the reference has labels it has seen more of them: RMSE and what R2 leaves reach upwards as far as
errors with the reference's tails would ask for.
A bootstrap would need the rows again; these intervals need only sums, which merge and can be taken back exactly.

Quantiles of the error's size come from a histogram of it (19 % wide bins, straight within), with the interval of order
statistics: no law of errors is assumed, but where so few rows cannot bound it, that they fall on
exponentially. R2 is one less the squared error over the labels' variance; its interval is the delta method's, from sums
of both together.

Source: P. Hall, On the removal of skewness by transformation, 1992.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.measure import Measure
from detectors.counts import performance_counts as at
from detectors.counts.performance_counts import JUDGED, PerformanceLayout
from detectors.counts.summary import Section, to_float
from detectors.statistics.bounded_mean import exact_share
from detectors.statistics.student import t_95
from driftline.results import Interval

# Rows more, with errors of exponential tails, that variances are taken of; squares need more.
_UNSEEN_ROWS, _UNSEEN_SQUARES = 3.0, 4.0
# Bins of errors, from the most negative on, in units of the layout's scale: their middles, and variances inside them.
_ENDS = np.exp2(np.arange(at.ERROR_BINS + 1) / at.ERROR_STEPS - at.ERROR_OCTAVES)
_SIZES = (_ENDS[1:] + _ENDS[:-1]) / 2.0
_MIDDLES = np.concatenate((-_SIZES[::-1], [0.0], _SIZES))
_WITHIN = np.concatenate((np.diff(_ENDS)[::-1], [0.0], np.diff(_ENDS))) ** 2 / 12.0
# More than this share of the variance inside bins, and they do not tell how errors lean.
_COARSE = 0.1
_SMALLEST_LEAN = 1e-6
# Shares of rows that nothing is said beyond.
_RAREST = 1e-6
# The variance of their squares, in units of the squared mean square.
_EXPONENTIAL = 5.0
# Beyond this variance of the mean square, in units of its square, an end would say nothing but that few rows came.
_FURTHEST = 1.0
#: Errors whose mean fourth power is so many times their squared mean square (3: normal ones, 6: exponential tails) have
#: so heavy tails that few rows decide their mean square.
HEAVY_TAIL = 9.0


def tail_weight(section: Section) -> float:
    """How heavy the errors' tails are: their mean fourth power over their squared mean square, 0 without any errors.

    It is from 1 to the number of rows.
    """
    square, fourth = (to_float(total) for total in section.sums[2:4])
    return fourth / square * max(int(section.values[JUDGED]), 0) / square if square > 0.0 else 0.0


def regression_measures(layout: PerformanceLayout, section: Section, expected_tail: float = 0.0) -> tuple[Measure, ...]:
    """MAE, RMSE, bias and quantiles of the error in units of the label, and R2; none without judged rows.

    ``expected_tail``: the reference's :func:`tail_weight`, 0 where it is unknown.
    """
    judged = int(section.values[JUDGED])
    if judged <= 0:
        return ()
    error, absolute, square, fourth = (to_float(total) / judged for total in section.sums[:4])
    expected = _expected_variance(expected_tail, judged)
    mse = _on_log_scale(square, _square_variance(square, fourth, judged), judged, expected * square**2)
    rmse = Interval(math.sqrt(mse.value), math.sqrt(mse.lower), math.sqrt(mse.upper))
    bias = _signed_mean(error, max(0.0, square - error * error), judged, _skewness(section))
    sizes = square - absolute * absolute
    return (
        Measure("mae", _on_log_scale(absolute, sizes + _UNSEEN_ROWS / judged * square, judged), "larger_is_worse"),
        Measure("rmse", rmse, "larger_is_worse"),
        Measure("bias", bias, "larger_is_worse"),
        Measure("median_absolute_error", absolute_quantile(layout, section, 0.5), "larger_is_worse"),
        Measure("p90_absolute_error", absolute_quantile(layout, section, 0.9), "larger_is_worse"),
        *_explained(section, judged, expected),
    )


def _square_variance(square: float, fourth: float, rows: int) -> float:
    """The variance of squared errors, of which few rows have not seen the largest."""
    return max(0.0, fourth - square * square) + _UNSEEN_SQUARES / rows * _of_unseen(square, fourth) * square * square


def _expected_variance(tail: float, rows: int) -> float:
    """The variance of squared errors with these tails, in units of their squared mean."""
    return min(max(tail - 1.0, 0.0), _FURTHEST * rows)


def _of_unseen(square: float, fourth: float) -> float:
    """The variance of squared errors of rows not seen, in units of their squared mean.

    That of errors with exponential tails (Laplace's), or where the tails seen are heavier, some times theirs.
    """
    tail = fourth / max(square * square, 1e-300)
    return max(_EXPONENTIAL, 2.0 * (tail - 1.0) * tail)


def _signed_mean(mean: float, variance: float, rows: int, skewness: float) -> Interval:
    """The mean of errors that may lean to one side: Student's interval, and there Hall's.

    Each end is the further of both: few rows do not tell well enough how errors lean to bring an end nearer.
    """
    quantile, lean = t_95(rows - 1), skewness / math.sqrt(rows)
    deviation = math.sqrt(variance / max(rows - 1, 1))
    down, up = (max(quantile, abs(_hall(end, lean))) * deviation for end in (quantile, -quantile))
    return Interval(mean, mean - down, mean + up)


def _hall(quantile: float, lean: float) -> float:
    """The studentised mean at which Hall's transformed one has this quantile; ``lean``: skewness over root of rows."""
    if abs(lean) < _SMALLEST_LEAN:
        return quantile
    return 3.0 / lean * (float(np.cbrt(1.0 + lean * (quantile - lean / 6.0))) - 1.0)


def _skewness(section: Section) -> float:
    """How errors lean to one side, from their bins; 0 where these are too wide to tell, or fewer than three rows."""
    counts = np.maximum(section.values[at.ERRORS : at.ERRORS + 2 * at.ERROR_BINS + 1], 0)
    rows = float(counts.sum())
    if rows <= 2.0:
        return 0.0
    centred = _MIDDLES - float(counts @ _MIDDLES) / rows
    squares = centred**2
    variance = float(counts @ squares) / rows
    if float(counts @ _WITHIN) / rows >= _COARSE * variance:
        return 0.0
    # Of the law that the rows were drawn from: few rows lean less than it does.
    seen = float(counts @ (squares * centred)) / rows / math.sqrt(variance) ** 3
    return seen * math.sqrt(rows * (rows - 1.0)) / (rows - 2.0)


def absolute_quantile(layout: PerformanceLayout, section: Section, share: float) -> Interval:
    """The size of error that this share of rows does not exceed."""
    counts = error_sizes(section)
    total = int(counts.sum())
    if total <= 0:
        return Interval(0.0, 0.0, 0.0)
    # Where the quantile's own share of rows may lie among so few.
    where = exact_share(share * total, total)
    ends = _ENDS * layout.scale
    below = np.concatenate(([0], np.cumsum(counts)))

    def value(place: float) -> float:
        bin_ = min(int(np.searchsorted(below, place * total, side="left")), at.ERROR_BINS + 1) - 1
        if bin_ <= 0:
            return 0.0
        inside = (place * total - below[bin_]) / max(counts[bin_], 1)
        return float(ends[bin_ - 1] + (ends[bin_] - ends[bin_ - 1]) * min(max(inside, 0.0), 1.0))

    return Interval(value(share), value(where.lower), max(value(share), _beyond(value, total, where.upper)))


def _beyond(value: Callable[[float], float], rows: int, place: float) -> float:
    """The size that a share ``place`` does not exceed, also where it lies beyond the largest of so few rows.

    Tails fall on as they do from the middle to the largest, exponentially.
    """
    rarest = 1.0 / (rows + 1.0)
    if 1.0 - place >= rarest:
        return value(place)
    octaves = math.log(rarest / max(1.0 - place, _RAREST)) / max(math.log(0.5 / rarest), math.log(2.0))
    return value(1.0) + (value(1.0) - value(0.5)) * max(octaves, 0.0)


def error_sizes(section: Section) -> NDArray[np.int64]:
    """Judged rows by the size of their error: none, then in bins of quarters of octaves."""
    signed = np.maximum(section.values[at.ERRORS : at.ERRORS + 2 * at.ERROR_BINS + 1], 0)
    sizes: NDArray[np.int64] = signed[at.ERROR_BINS :].copy()
    sizes[1:] += signed[: at.ERROR_BINS][::-1]
    return sizes


def _explained(section: Section, judged: int, expected: float) -> list[Measure]:
    """R2, at most 1; nothing where labels do not vary. ``expected``: the variance of squared errors, see above."""
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
    spread += _UNSEEN_ROWS / judged * ratio**2 * _of_unseen(square, fourth)
    unexplained = _on_log_scale(ratio, spread, judged, expected * ratio**2)
    if not math.isfinite(spread):
        return []
    ends = Interval(1.0 - ratio, 1.0 - unexplained.upper, 1.0 - unexplained.lower)
    return [Measure("r2", ends, "smaller_is_worse")]


def _on_log_scale(mean: float, variance: float, rows: int, upwards: float = 0.0) -> Interval:
    """The mean of values above zero; ``upwards``: the variance that its upper end is to reckon with at least."""
    if mean <= 0.0:
        return Interval(0.0, 0.0, 0.0)
    # Capped, so that a single monstrous error widens the interval without overflowing it.
    down, up = (
        math.exp(min(50.0, t_95(rows - 1) * math.sqrt(max(0.0, each) / rows) / mean))
        for each in (variance, max(variance, upwards))
    )
    return Interval(mean, mean / down, mean * up)
