"""Has a share risen or fallen? The two-sample test of two shares, exact where counts are small.

Given how many hits both samples have together, the hits of one are binomial (in truth hypergeometric, whose tails are
lighter, so the p-value errs on the quiet side).

>>> round(two_proportions(30, 100, 10, 100).p_value or 1.0, 3)
0.002
"""

from detectors.statistics.evidence import Evidence
from detectors.statistics.tables import binomial_p_value


def two_proportions(hits: int, trials: int, hits_before: int, trials_before: int) -> Evidence:
    """The share ``hits / trials`` and the two-sided p-value of "it is as ``hits_before / trials_before`` was"."""
    share = hits / max(trials, 1)
    if trials <= 0 or trials_before <= 0:
        return Evidence(share, "larger_is_worse", None)
    together, all_trials = hits + hits_before, trials + trials_before
    # Where hits are the rule, misses are the rarer and sharper evidence.
    misses = together > all_trials / 2
    rare, rarely = (trials - hits, all_trials - together) if misses else (hits, together)
    return Evidence(share, "larger_is_worse", binomial_p_value(rare, rarely, trials / all_trials))
