"""Wasserstein distance of order 1: how far the values moved on average, in standard deviations of the reference.

The area between the two distribution functions of the finite values, each bin standing at its representative value,
over the standard deviation of the reference (of a constant reference: over its absolute value, or 1). Missing and
infinite values have no place on that axis; the p-value takes them in as cells of their own (``tables.py``).

The p-value compares the area over the bulk of the reference with the same area under Brownian bridges in the place of
the difference. The bulk leaves out thresholds beyond which the smaller sample expects fewer than five rows: single
values of a heavy tail would raise false alarms there. Beyond the largest simulated areas the tail goes on as that of
the signed area, a normal law, which bounds it from the quiet side. Where there is no bulk (a constant reference), the
p-value is that of the Kolmogorov-Smirnov test.

Source: E. del Barrio, E. Gine, C. Matran, Central limit theorems for the Wasserstein distance, 1999.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.brownian_bridge import STEPS
from detectors.evidence import ColumnSample, Evidence
from detectors.tables import binomial_p_value, bonferroni

_SPECIAL = (0, -2, -1)
# The simulated tail is trusted down to this many draws.
_TAIL_DRAWS = 40
_TAIL_ROWS = 5.0


def wasserstein(sample: ColumnSample) -> Evidence:
    """The distance, at least 0, with its p-value (None without bridges); larger is worse."""
    reference, current, values = sample.reference[1:-2], sample.current[1:-2], sample.values[1:-2]
    n, m = int(reference.sum()), int(current.sum())
    if n == 0 or m == 0:
        return Evidence(0.0, "larger_is_worse", bonferroni(_special_p_values(sample)))
    below = np.cumsum(reference) / n
    steps = np.diff(values)
    area = float(np.abs(below - np.cumsum(current) / m)[:-1] @ steps)
    statistic = area / scale(reference, values)
    if sample.bridge is None:
        return Evidence(statistic, "larger_is_worse", None)
    gaps = np.abs(below - np.cumsum(current) / m)[:-1] * math.sqrt(n * m / (n + m))
    trim = min(0.25, _TAIL_ROWS / min(n, m))
    bulk = (below[:-1] >= trim) & (below[:-1] <= 1.0 - trim) & (steps > 0)
    if bulk.any():
        p_value = _area_p_value(gaps[bulk], below[:-1][bulk], steps[bulk], sample.bridge)
    else:
        p_value = float(special.kolmogorov(gaps.max()))
    return Evidence(statistic, "larger_is_worse", bonferroni([p_value, *_special_p_values(sample)]))


def scale(counts: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Standard deviation of binned values; their absolute value, or 1, where there is no deviation."""
    total = counts.sum()
    mean = float(counts @ values) / total
    deviation = math.sqrt(max(0.0, float(counts @ (values - mean) ** 2) / total))
    return deviation if deviation > 1e-12 * abs(mean) else abs(mean) or 1.0


def _special_p_values(sample: ColumnSample) -> list[float]:
    share = sample.current_rows / (sample.reference_rows + sample.current_rows)
    cells = [(int(sample.reference[cell]), int(sample.current[cell])) for cell in _SPECIAL]
    return [binomial_p_value(now, before + now, share) for before, now in cells if before + now]


def _area_p_value(
    gaps: NDArray[np.float64], below: NDArray[np.float64], steps: NDArray[np.float64], bridge: NDArray[np.float32]
) -> float:
    steps = steps / steps.max()
    area = float(gaps @ steps)
    times = np.rint(below * STEPS).astype(np.intp)
    weights = np.bincount(times, steps, minlength=STEPS + 1).astype(np.float64)
    weights[0] = weights[-1] = 0.0  # a bridge is zero at both ends
    null = bridge @ weights.astype(np.float32)
    hits = int(np.count_nonzero(null >= area))
    if hits >= _TAIL_DRAWS:
        return (hits + 1) / (len(null) + 1)
    knot = float(np.partition(null, -_TAIL_DRAWS)[-_TAIL_DRAWS])
    tail = math.exp((knot * knot - area * area) / (2.0 * _signed_area_variance(weights)))
    return (_TAIL_DRAWS + 1) / (len(null) + 1) * min(1.0, tail)


def _signed_area_variance(weights: NDArray[np.float64]) -> float:
    # Var(sum w_i B(t_i)) with Cov(B(s), B(t)) = min(s, t) - s t, in one pass over the sums of the tails.
    times = np.arange(STEPS + 1) / STEPS
    tails = np.cumsum(weights[::-1])[::-1]
    return float((tails[1:] ** 2).sum() / STEPS - float(weights @ times) ** 2)
