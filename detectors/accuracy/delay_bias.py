"""Accuracy of a window whose labels are still coming, where labels that say "wrong" come sooner or later than others.

Chargebacks take weeks, "all was well" is known at once: the labels that are there first are not a fair sample, however
many they are. Older windows tell how soon either kind of label comes, so each label counts by the inverse of the chance
that it would have come by now:

    accuracy = (R / r) / (R / r + W / w)

with R right and W wrong labels so far, of which shares r and w should have come (:mod:`driftline.maturity`). It holds
where delays depend on whether the prediction was right as they did in those windows. The interval, on the scale of log
odds, holds that labels scatter and that r and w are known from finitely many; where one kind has hardly begun to come
it is wide, which is what is known, and where none of it has, it reaches to where there is none.

How wrong the plain share of right labels may be is said by bounds without any assumption on delays, too: all labels
that are still expected say "wrong", or all say "right".

Source: D. Horvitz, D. Thompson, A generalization of sampling without replacement from a finite universe, 1952.

>>> found = adjusted(900, 50, OutcomeMaturity(0.9, 0.25, 4000, 1000))
>>> round(found.value, 3), round(900 / 950, 3)
(0.833, 0.947)
"""

import math
from dataclasses import replace

from detectors.accuracy.performance import spelt
from detectors.statistics.reasons import percent
from detectors.statistics.wilson import Z_95
from driftline.results import Interval, LabelState, OutcomeMaturity, Result, Verdict

#: Fewer labels adjust nothing.
FEWEST_LABELS = 30
# Kinds of labels that come as soon as each other, but for this much, need no adjusting.
_ALIKE = 0.05
# Kinds of labels of which less than this should have come say too little to divide by.
_LEAST_SHARE = 0.02


def adjusted(right: int, wrong: int, maturity: OutcomeMaturity) -> Interval:
    """Accuracy once all labels are there, from those that say "right" and "wrong" so far, in [0, 1]."""
    # Half a label of each, in the proportion that they come in: a kind without a label yet scatters too.
    rights, wrongs = right + 0.5 * maturity.right, wrong + 0.5 * maturity.wrong
    odds = math.log(rights / maturity.right) - math.log(wrongs / maturity.wrong)
    variance = 1.0 / rights + 1.0 / wrongs
    for share, known in ((maturity.right, maturity.rights), (maturity.wrong, maturity.wrongs)):
        variance += (1.0 - share) / (share * known)
    half = Z_95 * math.sqrt(variance)
    value, lower, upper = (1.0 / (1.0 + math.exp(-each)) for each in (odds, odds - half, odds + half))
    # Where none of a kind has come, there may be none at all.
    return Interval(value, lower if right else 0.0, upper if wrong else 1.0)


def adjusted_accuracy(accuracy: Result, labels: LabelState | None) -> Result | None:
    """What a window's accuracy will be, beside what its early labels say; None where these may be taken as they are."""
    if labels is None or labels.by_outcome is None or accuracy.sample_size < FEWEST_LABELS:
        return None
    maturity = labels.by_outcome
    low, high = sorted((maturity.right, maturity.wrong))
    if low < _LEAST_SHARE or low >= high * (1.0 - _ALIKE):
        return None
    right = round(accuracy.statistic * accuracy.sample_size)
    wrong = accuracy.sample_size - right
    found = adjusted(right, wrong, maturity)
    later = "wrong" if maturity.wrong < maturity.right else "right"
    missing = max(0.0, labels.expected - accuracy.sample_size)
    total = accuracy.sample_size + missing
    told = (
        f"accuracy {spelt(found)} once all labels are there, {accuracy.statistic:.3g} on the {accuracy.sample_size} so "
        f"far: labels that say '{later}' come later, {percent(maturity.right)} of 'right' and "
        f"{percent(maturity.wrong)} of 'wrong' should be here; {right / total:.3g} to "
        f"{(right + missing) / total:.3g} whatever the {missing:.0f} that are missing say"
    )
    known = accuracy.reference_value
    worse = known is not None and found.upper < known
    return replace(
        accuracy,
        detector="delay_adjusted_accuracy",
        statistic=found.value,
        effect=found,
        verdict=Verdict.WARNING if worse and accuracy.verdict is not Verdict.NOT_ENOUGH_EVIDENCE else Verdict.OK,
        reason=told if known is None else f"{told}; reference {known:.3g}",
    )
