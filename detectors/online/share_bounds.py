"""What a finite reference says of shares: the range in which each of them lies, all ranges right at once.

A reference is a sample. A test that takes its shares for exact truths will, sooner or later, call every stream changed,
because no stream has exactly these shares. So the null hypothesis of the sequential tests is a range per share: exact
binomial limits (Clopper-Pearson), each at ``(1 - confidence) / shares``, so that with probability ``confidence`` over
the drawing of the reference all are right. ``margin`` widens them by what does not matter.

Source: C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
1934.

>>> found = bounds(np.array([50.0]), 100, confidence=0.95)
>>> round(float(found.lower[0]), 3), round(float(found.upper[0]), 3)
(0.398, 0.602)
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.online.contract import Counted


@dataclass(frozen=True, slots=True)
class ShareBounds:
    """Per share, the smallest and the largest value that are no change; shape (shares,), in [0, 1].

    ``ladders``: shape (ladders, shares), each summing to 1: how much higher a row stands for hitting a share. Shares of
    a ladder (those above 0) are nested: a row that hits one hits every larger one. So a row's height is in [0, 1].
    ``sampled``: the reference's rows that the ranges follow from, None where they are known without one. ``margin``: by
    how much the ranges were widened.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    ladders: NDArray[np.float64] | None = None
    sampled: Counted | None = None
    margin: float = 0.0

    def with_ladders(self, ladders: NDArray[np.float64]) -> "ShareBounds":
        """The same shares, some of them nested."""
        return replace(self, ladders=ladders)

    def rises(self) -> NDArray[np.float64]:
        """The ladders; shape (0, shares) without any."""
        return np.zeros((0, len(self.upper))) if self.ladders is None else self.ladders


def bounds(
    hits: NDArray[np.float64], rows: int, *, confidence: float = 0.99, margin: float = 0.0, families: int = 1
) -> ShareBounds:
    """The ranges of shares that ``rows`` reference rows hit ``hits`` times; (0, 1) without rows.

    ``families``: how many sets of shares (columns, segments) have to be right at once.
    """
    if rows <= 0:
        return ShareBounds(np.zeros(len(hits)), np.ones(len(hits)))
    tail = (1.0 - confidence) / (2.0 * max(1, len(hits)) * families)
    inner, outer = np.minimum(hits, rows), rows - np.minimum(hits, rows)
    lower = np.where(inner > 0, special.betaincinv(np.maximum(inner, 1), outer + 1, tail), 0.0)
    upper = np.where(outer > 0, special.betaincinv(inner + 1, np.maximum(outer, 1), 1.0 - tail), 1.0)
    ends = np.clip(lower - margin, 0.0, 1.0), np.clip(upper + margin, 0.0, 1.0)
    return ShareBounds(*ends, sampled=Counted(inner, rows), margin=margin)


def exactly(shares: NDArray[np.float64]) -> ShareBounds:
    """Shares that are known, not estimated."""
    return ShareBounds(shares, shares)
