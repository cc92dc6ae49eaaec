"""Effect sizes: how much of the distribution moved, in [0, 1], whatever the sample sizes.

Numeric columns: the largest difference of the distribution functions. Categorical columns: the total variation
distance, the share of rows that would have to change their category. Both are the difference of one set's shares in
the two samples, the set being chosen to make it large; so both are above zero by chance alone, the more so the smaller
the samples. What chance would give is taken off the value (in squares, so that large effects hardly change). The
interval is that of the difference of two shares, and does not rely on this: its upper end lies about what was seen,
since a set chosen so shows on average no less than there is; its lower end, of categories, about what is left when all
that chance would give is taken off, since a few cells that moved hide among many that did not.

>>> sample = ColumnSample("x", "numeric", np.array([0, 5000, 5000, 0, 0]), np.array([0, 100, 900, 0, 0]))
>>> round(effect_size(sample).value, 2)
0.4
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.columns import Columns, alone, shares_before
from detectors.statistics.count_passes import enclosed, grown
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.largest_gaps import largest_gaps
from detectors.statistics.wilson import Z_95
from driftline.results import Interval

# Mean square of the supremum of a Brownian bridge: pi^2 / 12 (the mean square of Kolmogorov's law).
_KOLMOGOROV_SQUARE = math.pi**2 / 12


def effect_size(sample: ColumnSample) -> Interval:
    """The effect size that fits the column's type, with its 95 % interval, all in [0, 1]."""
    return effect_sizes(alone(sample))[0]


def effect_sizes(columns: Columns) -> list[Interval]:
    """The same of several columns."""
    n, m = columns.before.rows, columns.rows
    if columns.before.kind == "numeric":
        gaps = largest_gaps(columns)
        return _intervals(gaps.before, gaps.now, columns, _KOLMOGOROV_SQUARE * columns.scale, np.zeros(len(n)))
    # The mean of |difference| of a cell's shares under no change, by the normal law; half their sum is the distance.
    counts = columns.before.counts, columns.current
    before, now, spread = grown(shares_before(columns.before), counts, (n, m))
    chance = spread * np.sqrt(2.0 / math.pi * columns.scale) / 2.0
    return _intervals(before, now, columns, chance * chance, chance)


def _intervals(
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    columns: Columns,
    chance_squares: NDArray[np.float64],
    doubtful: NDArray[np.float64],
) -> list[Interval]:
    rows = columns.before.rows, columns.rows
    return list(map(Interval, *enclosed((before, now), rows, chance_squares, doubtful, Z_95).tolist()))
