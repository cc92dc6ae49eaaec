"""Metrics of classifications from their counts, each with a 95 % interval.

They hold what they say with ten labels as with many, as far as that goes (the docs have the table). Accuracy, precision
and recall: Clopper and Pearson's. F1: that of the share of which it is a function. Means over classes: from those of
each class (``class_means.py``). AUC: DeLong's variance, exact on the score bins with ties counted half, and
Newcombe's interval. Brier score: a mean in [0, 1], its variance from the score bins. Log loss: Student's on the
logarithmic scale. Calibration error: mean gap between score and share of positives over ten bins, draws of the
positives per bin.

Sources: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more correlated receiver
operating characteristic curves, 1988; R. G. Newcombe, Confidence intervals for an effect size measure based on the
Mann-Whitney statistic (part 2), 2006; D. J. Hand, P. Christen, N. Kirielle, F*: an interpretable transformation of
the F-measure, 2021; G. W. Brier, Verification of forecasts expressed in terms of probability, 1950.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.accuracy.class_means import class_means
from detectors.accuracy.measure import Measure
from detectors.counts import performance_counts as at
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.statistics.bounded_mean import as_tosses, bounded_mean, exact_share
from detectors.statistics.student import t_95
from driftline.results import Interval

_DRAWS = 200
_TAIL = 0.025
# Powers of e are capped: a single monstrous loss widens the interval without overflowing it.
_LARGEST = 50.0
_MIDDLES = (np.arange(at.SCORE_BINS) + 0.5) / at.SCORE_BINS
# The variance of what happens, were the scores right.
_TOSSED = _MIDDLES * (1.0 - _MIDDLES)
_CALIBRATION_BINS = 10
_MOST_CLASSES_ALONE = 10


def classification_measures(
    layout: PerformanceLayout, section: Section, rng: np.random.Generator
) -> tuple[Measure, ...]:
    """Every metric that the counts allow, accuracy first; none without judged rows."""
    values = section.values
    judged = int(values[at.JUDGED])
    if judged <= 0:
        return ()
    accuracy = Measure("accuracy", exact_share(int(values[at.CORRECT]), judged), "smaller_is_worse")
    if layout.task == "binary":
        return (accuracy, *_threshold_measures(values), *_score_measures(layout, values, rng))
    if layout.classes:
        confusion = np.maximum(layout.confusion(values), 0)
        return (accuracy, *class_measures(layout.classes, confusion), *_confidence_measures(layout, values, rng))
    return (accuracy,)


def _confidence_measures(
    layout: PerformanceLayout, values: NDArray[np.int64], rng: np.random.Generator
) -> list[Measure]:
    """Whether predictions are right as often as their probability says, where it is known."""
    wrong, right = np.maximum(layout.histograms(values), 0)
    if not (wrong.any() or right.any()):
        return []
    return [Measure("calibration_error", calibration_error(wrong, right, rng), "larger_is_worse")]


def _threshold_measures(values: NDArray[np.int64]) -> list[Measure]:
    tp, fp, fn = (max(0, int(values[place])) for place in (at.TRUE_POSITIVE, at.FALSE_POSITIVE, at.FALSE_NEGATIVE))
    measures = []
    if tp + fp:
        measures.append(Measure("precision", exact_share(tp, tp + fp), "smaller_is_worse"))
    if tp + fn:
        measures.append(Measure("recall", exact_share(tp, tp + fn), "smaller_is_worse"))
        measures.append(Measure("f1", f1(tp, fp, fn), "smaller_is_worse"))
    return measures


def _score_measures(layout: PerformanceLayout, values: NDArray[np.int64], rng: np.random.Generator) -> list[Measure]:
    scored = int(values[at.SCORED])
    if scored <= 0:
        return []
    negatives, positives = np.maximum(layout.histograms(values), 0)
    measures = [
        Measure(
            "log_loss",
            log_loss(int(values[at.LOG_LOSS]), int(values[at.LOG_LOSS_SQUARES]), scored, negatives, positives),
            "larger_is_worse",
        ),
        Measure("brier", brier(int(values[at.BRIER]), scored, negatives, positives), "larger_is_worse"),
        Measure("calibration_error", calibration_error(negatives, positives, rng), "larger_is_worse"),
    ]
    if negatives.any() and positives.any():
        measures.insert(0, Measure("auc", auc(negatives, positives), "smaller_is_worse"))
    return measures


def f1(tp: int, fp: int, fn: int) -> Interval:
    """F1 of the positive class, in [0, 1]; there is something positive, said or true.

    It rises with the share j of hits among what is positive in the one way or the other, F1 = 2 j / (1 + j), so that
    the interval of that share is its interval, at no hits and few of them too.

    >>> found = f1(0, 4, 8)
    >>> round(found.value, 2), round(found.lower, 2), round(found.upper, 2)
    (0.0, 0.0, 0.42)
    """
    share = exact_share(tp, tp + fp + fn)
    value, lower, upper = (2.0 * j / (1.0 + j) for j in (share.value, share.lower, share.upper))
    return Interval(value, lower, upper)


def class_measures(classes: Sequence[str], confusion: NDArray[np.int64]) -> list[Measure]:
    """Means over classes, and each class's own precision and recall where there are few enough of them to be read.

    ``confusion`` of shape (classes + 1, classes + 1), row = label, the last one all others.
    """
    if not confusion.any():
        return []
    measures = [Measure(name, found, "smaller_is_worse") for name, found in class_means(confusion).items()]
    for place, name in enumerate(classes if len(classes) <= _MOST_CLASSES_ALONE else ()):
        hits, said, there = int(confusion[place, place]), int(confusion[:, place].sum()), int(confusion[place].sum())
        if said:
            measures.append(Measure(f"precision[{name}]", exact_share(hits, said), "smaller_is_worse"))
        if there:
            measures.append(Measure(f"recall[{name}]", exact_share(hits, there), "smaller_is_worse"))
    return measures


def auc(negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> Interval:
    """Area under the ROC curve of scores counted in bins, in [0, 1]; both classes must occur.

    The interval is the wider of two at each end: that of as many tosses as DeLong's variance makes of the area, and
    Newcombe's, which knows from the area and the numbers of rows alone how much it may scatter.

    >>> found = auc(np.array([10, 0]), np.array([0, 10]))
    >>> found.value, round(found.lower, 2)
    (1.0, 0.78)
    """
    n, m = int(negatives.sum()), int(positives.sum())
    # For each bin, the share of the other class that it beats, ties half.
    beaten = (np.cumsum(negatives) - negatives / 2.0) / n
    beating = 1.0 - (np.cumsum(positives) - positives / 2.0) / m
    value = float(beaten @ positives) / m
    spread = float(positives @ (beaten - value) ** 2) / max(m - 1, 1) / m
    spread += float(negatives @ (beating - value) ** 2) / max(n - 1, 1) / n
    likely = _likely_areas(value, n, m)
    if spread <= 0.0:
        return Interval(value, *likely)
    tosses = as_tosses(value, value, spread)
    return Interval(value, min(likely[0], tosses.lower), max(likely[1], tosses.upper))


def _likely_areas(value: float, n: int, m: int) -> tuple[float, float]:
    """The areas from which this one is no further than 1.96 of their deviations, by the law of Hanley and McNeil."""
    areas = np.linspace(0.0, 1.0, 2001)
    half = (n + m) / 2.0 - 1.0
    clustered = 1.0 + half * (1.0 - areas) / (2.0 - areas) + half * areas / (1.0 + areas)
    deviation = np.sqrt(areas * (1.0 - areas) * clustered / (n * m))
    within = areas[np.abs(areas - value) <= t_95(n + m - 1) * deviation]
    return (float(within.min(initial=value)), float(within.max(initial=value)))


def brier(total: int, scored: int, negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> Interval:
    """Mean squared gap between score and outcome, in [0, 1]; ``total`` as counted, in squared score steps."""
    fourth = float(negatives @ _MIDDLES**4) + float(positives @ (1.0 - _MIDDLES) ** 4)
    expected = float((negatives + positives) @ (_TOSSED * (1.0 - 2.0 * _MIDDLES) ** 2)) / scored
    return bounded_mean(scored, total / at.SCORE_STEPS**2, fourth, expected)


def log_loss(
    total: int, squares: int, scored: int, negatives: NDArray[np.int64], positives: NDArray[np.int64]
) -> Interval:
    """Mean of minus the logarithm of the probability of what happened; ``total`` and ``squares`` as counted.

    The interval is on the logarithmic scale: losses have a heavy tail upwards. They scatter as those seen do, and no
    less than they would were the scores right: what is rare and dear may not have happened yet.
    """
    value = total / scored / at.LOSS_STEPS
    together = negatives + positives
    expected = float(together @ (special.entr(_MIDDLES) + special.entr(1.0 - _MIDDLES))) / scored
    least = float(together @ (_TOSSED * special.logit(_MIDDLES) ** 2)) / scored
    variance = max(least, squares / scored / at.LOSS_SQUARE_STEPS**2 - value * value)
    half, size = t_95(scored - 1) * math.sqrt(variance / scored), max(value, expected)
    return Interval(value, value * math.exp(-half / size), value + size * math.expm1(min(_LARGEST, half / size)))


def calibration_error(negatives: NDArray[np.int64], positives: NDArray[np.int64], rng: np.random.Generator) -> Interval:
    """Expected calibration error over ten equal bins of the score, in [0, 1].

    What chance adds to the gap of a bin is taken off, in squares: otherwise a small window would look worse calibrated
    than a large reference whatever the model does. Source of the idea: A. Kumar, P. Liang, T. Ma, Verified uncertainty
    calibration, 2019. At least: the part of it that all gaps together are sure of, 0 where chance alone makes as much
    (noncentral chi-square). At most: what one in forty draws of the bins' shares exceeds, given what was seen.
    """
    together = (negatives + positives).astype(np.float64)
    rows = together.reshape(_CALIBRATION_BINS, -1).sum(axis=1)
    used = rows > 0
    score = (together * _MIDDLES).reshape(_CALIBRATION_BINS, -1).sum(axis=1)[used] / rows[used]
    hits = positives.reshape(_CALIBRATION_BINS, -1).sum(axis=1)[used]
    rows = rows[used]
    gaps = hits / rows - score
    noise = hits / rows * (1.0 - hits / rows) / rows
    value = float(np.sqrt(np.maximum(gaps * gaps - noise, 0.0)) @ rows / rows.sum())
    drawn = rng.beta(hits + 0.5, rows - hits + 0.5, size=(_DRAWS, len(rows)))
    upper = float(np.quantile(np.abs(drawn - score) @ rows / rows.sum(), 1.0 - _TAIL))
    # Each gap scatters as it would were scores right, or as what was seen does where that is more.
    likely = (hits + 0.5) / (rows + 1.0)
    variance = np.maximum(score * (1.0 - score), likely * (1.0 - likely))
    seen = float((gaps * gaps * rows / variance).sum())
    return Interval(value, value * _sure_part(seen, len(rows)), max(value, upper))


def _sure_part(seen: float, bins: int) -> float:
    """Of gaps whose squares add up to ``seen``, in units of chance's, the part that is there whatever chance did."""
    if seen <= special.chdtri(bins, _TAIL):
        return 0.0
    return math.sqrt(min(1.0, float(special.chndtrinc(seen, bins, 1.0 - _TAIL)) / seen))
