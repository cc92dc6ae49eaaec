"""How large a regression's errors are before labels come, and with the first of them (direct loss estimation, DLE).

The reference knows how large errors are where the model says what it says: per stratum of the prediction, a mean and a
spread. The window's mean follows from how many of its rows are in each, ``sum N_s/N mean_s``. Its interval holds that
the reference's rows are finitely many and that the window's errors will scatter: ``sum (N_s/N)^2 spread_s^2 (1/n_s +
1/N_s)``. With labels the same means are guesses that :mod:`detectors.accuracy.prediction_powered` corrects.

Holds while errors depend on the prediction as they did. Source: NannyML's definition of direct loss estimation, whose
model of the error sees all columns; ours is a constant per stratum, because that adds up from counts.

>>> before = np.array([[100.0, 100.0, 150.0], [100.0, 300.0, 1200.0]])  # rows, sum of sizes, of squares
>>> estimated_size(before, np.array([10.0, 30.0])).value
2.5
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.prediction_powered import Labelled, corrected_mean
from detectors.statistics.wilson import Z_95
from driftline.results import Interval

# As if so many reference rows of all strata were in each: an empty stratum has a guess.
_PRIOR_ROWS = 1.0


def _per_stratum(reference: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean size of errors and its variance per stratum, shape (S,) each."""
    overall = reference.sum(axis=0) / reference[:, 0].sum()
    held = reference + _PRIOR_ROWS * overall if (reference[:, 0] <= 0).any() else reference
    means = held[:, 1] / held[:, 0]
    return means, np.maximum(held[:, 2] / held[:, 0] - means**2, 0.0)


def estimated_size(reference: NDArray[np.float64], rows: NDArray[np.float64]) -> Interval:
    """Mean size of errors that the labels of a window with ``rows``, shape (S,), will show.

    ``reference``: per stratum rows, sum of sizes, sum of squares, shape (S, 3); neither is empty.
    """
    means, variances = _per_stratum(reference)
    weight = rows / rows.sum()
    known = np.maximum(reference[:, 0], _PRIOR_ROWS)
    # One row fewer is free: the mean was fitted to them.
    calibration = weight**2 * variances / np.maximum(known - 1.0, 1.0)
    return _positive(float(weight @ means), float(calibration.sum() + weight @ variances / rows.sum()))


def corrected_size(
    reference: NDArray[np.float64], rows: NDArray[np.float64], judged: NDArray[np.float64]
) -> Interval | None:
    """Mean size of errors of all rows of a window, from those that have labels; None without any.

    ``judged``: as ``reference``, of the window's rows with labels.
    """
    means, _ = _per_stratum(reference)
    found = corrected_mean(Labelled(rows, judged[:, 0], judged[:, 1], judged[:, 2], means))
    return None if found is None else _positive(found.value, found.variance)


def _positive(value: float, variance: float) -> Interval:
    """On the logarithmic scale, as sizes of errors are above zero and have a long tail."""
    if value <= 0.0:
        return Interval(0.0, 0.0, 0.0)
    factor = math.exp(min(50.0, Z_95 * math.sqrt(max(variance, 0.0)) / value))
    return Interval(value, value / factor, value * factor)
