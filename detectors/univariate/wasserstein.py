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
from scipy import special

from detectors.statistics.brownian_bridge import spread
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.tables import bonferroni, special_p_values

# Thresholds count for the p-value where the smaller sample expects at least this many rows beyond them.
_TAIL_ROWS = 5.0


def wasserstein(sample: ColumnSample) -> Evidence:
    """The distance, at least 0, with its p-value (None without ``nulls``); larger is worse."""
    reference, current, values = sample.reference[1:-2], sample.current[1:-2], sample.values[1:-2]
    n, m = int(reference.sum()), int(current.sum())
    if n == 0 or m == 0:
        return Evidence(0.0, "larger_is_worse", bonferroni(special_p_values(sample)))
    below = (sample.below[1:-3] - sample.reference[0]) / n
    gaps = np.abs(below - (sample.below_now[1:-3] - sample.current[0]) / m)
    if sample.nulls is None:
        statistic = float(gaps @ np.diff(values)) / spread(reference, values)
        return Evidence(statistic, "larger_is_worse", None)
    statistic = float(gaps @ sample.nulls.steps) / sample.nulls.spread
    gaps *= math.sqrt(n * m / (n + m))
    null = sample.nulls.trimmed(_TAIL_ROWS / min(n, m))
    p_value = float(special.kolmogorov(gaps.max())) if null is None else null.p_value(gaps[null.bulk])
    return Evidence(statistic, "larger_is_worse", bonferroni([p_value, *special_p_values(sample)]))
