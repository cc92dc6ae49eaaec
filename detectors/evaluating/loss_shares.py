"""What of a window's judged predictions a sequential test of accuracy watches: shares of rows that were lost.

Classification: predictions that were wrong. Regression: errors beyond several quantiles of the reference's, which are
nested, or beyond the monitor's tolerance. Ranking: what a query's main metric lacks to 1, so that a query is lost in
part. Only more of them is a change: each is allowed any share from 0 to its bound.

The bound is what the reference leaves open (Clopper and Pearson's, exact for rows that are lost or not; for parts of
queries Chernoff's, which holds for whatever lies between 0 and 1), or what the monitor's floor says.

Sources: C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits, 1934; W. Hoeffding, Probability
inequalities for sums of bounded random variables, 1963 (equation 2.1, by the relative entropy).

>>> from detectors.counts.performance_counts import PerformanceLayout
>>> layout = PerformanceLayout("binary")
>>> section = layout.empty()
>>> section.values[[0, 1]] = 100, 90
>>> lost = loss_shares(layout, section, None)
>>> lost.names, lost.of(section).hits.tolist(), lost.of(section).rows
(('wrong predictions',), [10.0], 100)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.ranking import main_metric
from detectors.accuracy.regression import error_sizes
from detectors.counts import performance_counts as at
from detectors.counts import ranking_counts
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.online.contract import Counted
from detectors.online.share_bounds import ShareBounds, bounds

#: Quantiles of the reference's sizes of errors beyond which errors are counted.
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class LossShares:
    """The watched shares: their names, and how they are read from counts.

    ``beyond``: of a regression, the bins of sizes of errors (0: no error) that are not lost yet. ``ladder``: shape
    (1, shares) where shares are nested, see :class:`detectors.online.share_bounds.ShareBounds`; else (0, shares).
    """

    layout: PerformanceLayout
    names: tuple[str, ...]
    beyond: tuple[int, ...]
    ladder: NDArray[np.float64]

    def of(self, section: Section | None) -> Counted:
        """The rows (of a ranking: queries) that are judged, and how many are lost."""
        if section is None:
            return Counted(np.zeros(len(self.names)), 0)
        if self.layout.task == "regression":
            return self._errors(section)
        if self.layout.task == "ranking":
            rows = max(0, int(section.values[ranking_counts.QUERIES]))
            kept = float(section.values[ranking_counts.SUMS_AT]) / ranking_counts.RANK_STEPS
        else:
            rows, kept = max(0, int(section.values[at.JUDGED])), float(section.values[at.CORRECT])
        return Counted(np.clip(np.array([rows - kept]), 0.0, float(rows)), rows)

    def _errors(self, section: Section) -> Counted:
        # What is no number, or beyond all numbers, is an error beyond any size.
        unusable = max(0, int(section.values[at.UNUSABLE]))
        sizes = error_sizes(section)
        within = np.cumsum(sizes)[list(self.beyond)]
        rows = int(sizes.sum()) + unusable
        return Counted((rows - within).astype(np.float64), rows)


def loss_shares(layout: PerformanceLayout, reference: Section | None, tolerance: float | None) -> LossShares:
    """What is watched; a regression needs the reference's errors, or a tolerance, else nothing is."""
    nothing = np.zeros((0, 1))
    if layout.task == "ranking":
        return LossShares(layout, (f"what {main_metric(layout)} lacks to 1",), (), nothing)
    if layout.task != "regression":
        return LossShares(layout, ("wrong predictions",), (), nothing)
    ends = np.concatenate(([0.0], size_ends(layout)))
    if tolerance is not None:
        beyond: tuple[int, ...] = (min(int(np.searchsorted(ends, tolerance * (1.0 - 1e-9))), len(ends) - 1),)
    else:
        beyond = () if reference is None else _quantile_bins(error_sizes(reference))
    names = tuple(f"errors above {ends[size]:.4g}" for size in beyond)
    found = LossShares(layout, names, beyond, np.zeros((0, len(beyond))))
    if len(beyond) < 2 or reference is None:
        return found
    return LossShares(layout, names, beyond, _ladder(found.of(reference)))


def loss_bounds(
    shares: LossShares, reference: Counted, *, floor: float | None, confidence: float, margin: float, families: int
) -> ShareBounds:
    """The largest share of each that is no change; ``families``: how many segments have to be right at once.

    Beside a reference, not a floor, a test that learns asks how likely the next row is lost after the reference's.
    """
    sampled = Counted(np.minimum(reference.hits, reference.rows), reference.rows) if floor is None else None
    if floor is not None:
        upper = np.full(len(shares.names), min(1.0, 1.0 - floor + margin))
    elif shares.layout.task == "ranking":
        most = largest_mean(float(reference.hits[0]), reference.rows, (1.0 - confidence) / families)
        upper = np.array([min(1.0, most + margin)])
    else:
        upper = bounds(reference.hits, reference.rows, confidence=confidence, margin=margin, families=families).upper
    return ShareBounds(np.zeros(len(upper)), upper, shares.ladder, sampled, margin)


def largest_mean(total: float, rows: int, tail: float) -> float:
    """The largest mean of values in [0, 1] at which so small a total of ``rows`` of them is as likely as ``tail``.

    >>> round(largest_mean(0.0, 100, 0.05), 4), largest_mean(0.0, 0, 0.05)
    (0.0295, 1.0)
    """
    if rows <= 0:
        return 1.0
    mean = min(1.0, max(0.0, total / rows))
    low, high, allowed = mean, 1.0, -math.log(tail) / rows
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if _entropy(mean, middle) > allowed else (middle, high)
    return high


def _entropy(mean: float, other: float) -> float:
    """Of a coin of one mean beside one of another, which lies between it and 1."""
    found = 0.0 if mean == 0.0 else mean * math.log(mean / other)
    if mean < 1.0:
        found += math.inf if other >= 1.0 else (1.0 - mean) * math.log((1.0 - mean) / (1.0 - other))
    return found


def size_ends(layout: PerformanceLayout) -> NDArray[np.float64]:
    """The upper end of each bin of sizes of errors, in units of the label; each is 19 % wide."""
    octaves = np.arange(1, at.ERROR_BINS + 1) / at.ERROR_STEPS - at.ERROR_OCTAVES
    found: NDArray[np.float64] = np.exp2(octaves) * layout.scale
    return found


def _quantile_bins(sizes: NDArray[np.int64]) -> tuple[int, ...]:
    within = np.cumsum(sizes)
    if within[-1] <= 0:
        return ()
    return tuple(sorted({int(np.searchsorted(within, share * within[-1])) for share in QUANTILES}))


def _ladder(reference: Counted) -> NDArray[np.float64]:
    """Each step as high as the errors beyond it are rare, all together 1."""
    heights = -np.log((reference.hits + 0.5) / (reference.rows + 1.0))
    steps = np.diff(np.maximum.accumulate(heights), prepend=0.0)
    found: NDArray[np.float64] = (steps / steps.sum())[None, :]
    return found
