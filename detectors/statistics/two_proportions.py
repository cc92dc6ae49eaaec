"""Has a share risen or fallen? The two-sample test of two shares, exact where counts are small.

Given how many hits both samples have together, the hits of one are binomial (in truth hypergeometric, whose tails are
lighter, so the p-value errs on the quiet side).

>>> round(two_proportions(30, 100, 10, 100).p_value or 1.0, 3)
0.002
"""

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import Evidence
from detectors.statistics.tables import binomial_p_values


def two_proportions(hits: int, trials: int, hits_before: int, trials_before: int) -> Evidence:
    """The share ``hits / trials`` and the two-sided p-value of "it is as ``hits_before / trials_before`` was"."""
    counts = np.array([[hits], [trials], [hits_before], [trials_before]], dtype=np.int64)
    return shares_compared(*counts)[0]


def shares_compared(
    hits: NDArray[np.int64],
    trials: NDArray[np.int64],
    hits_before: NDArray[np.int64],
    trials_before: NDArray[np.int64],
) -> list[Evidence]:
    """The same of several shares, shape (shares,) each."""
    together, all_trials = hits + hits_before, trials + trials_before
    # Where hits are the rule, misses are the rarer and sharper evidence.
    misses = together > all_trials / 2
    rare = np.where(misses, trials - hits, hits)
    rarely = np.where(misses, all_trials - together, together)
    p_values = binomial_p_values(rare, rarely, trials / np.maximum(all_trials, 1))
    shares = hits / np.maximum(trials, 1)
    known = (trials > 0) & (trials_before > 0)
    return [
        Evidence(share, "larger_is_worse", p_value if has_both else None)
        for share, p_value, has_both in zip(shares.tolist(), p_values.tolist(), known.tolist(), strict=True)
    ]
