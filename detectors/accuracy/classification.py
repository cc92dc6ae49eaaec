"""Metrics of classifications from their counts, each with a 95 % interval.

They hold what they say with ten labels as with many, as far as that goes (the docs have the table). Accuracy, precision
and recall: Clopper and Pearson's. F1: that of the share of which it is a function. Means over classes: draws of the
confusion table (Dirichlet, seeded). AUC: DeLong's variance, exact on the score bins with ties counted half, and
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

from detectors.accuracy.measure import Measure
from detectors.counts import performance_counts as at
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.statistics.bounded_mean import bounded_mean, exact_share
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
#: Rows that nobody saw, spread evenly over a confusion table.
_UNSEEN = 3.0
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
        return (accuracy, *class_measures(layout.classes, confusion, rng), *_confidence_measures(layout, values, rng))
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


def class_measures(classes: Sequence[str], confusion: NDArray[np.int64], rng: np.random.Generator) -> list[Measure]:
    """Means over the classes that occur, alike (macro) and by how often they do (weighted), and each class's own.

    ``confusion`` of shape (classes + 1, classes + 1), row = label, the last one all others. A class that was never said
    has precision 0. The weighted recall is left out: it is the accuracy. Classes alone: precision and recall,
    where there are few enough of them to be read.
    """
    total = int(confusion.sum())
    if total == 0:
        return []
    occurs = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    seen = confusion[np.ix_(occurs, occurs)]
    drawn = rng.standard_gamma(seen + _UNSEEN / len(occurs) ** 2, size=(_DRAWS, *seen.shape))
    scattered = _means(drawn)
    measures = [
        Measure(name, tossed(float(value[0]), scattered[name]), "smaller_is_worse")
        for name, value in _means(confusion[None].astype(np.float64)).items()
    ]
    for place, name in enumerate(classes if len(classes) <= _MOST_CLASSES_ALONE else ()):
        hits, said, there = int(confusion[place, place]), int(confusion[:, place].sum()), int(confusion[place].sum())
        if said:
            measures.append(Measure(f"precision[{name}]", exact_share(hits, said), "smaller_is_worse"))
        if there:
            measures.append(Measure(f"recall[{name}]", exact_share(hits, there), "smaller_is_worse"))
    return measures


def _means(tables: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Per table of shape (tables, classes, classes), the means over its classes by name, shape (tables,) each."""
    hits = np.einsum("dii->di", tables)
    said, there = tables.sum(axis=1), tables.sum(axis=2)
    occurs = said + there > 0
    count = np.maximum(occurs.sum(axis=1), 1)
    weights = there / np.maximum(there.sum(axis=1, keepdims=True), 1.0)
    f1_scores = _shares(2.0 * hits, said + there)
    return {
        "f1_macro": f1_scores.sum(axis=1) / count,
        "precision_macro": _shares(hits, said).sum(axis=1) / count,
        "recall_macro": _shares(hits, there).sum(axis=1) / count,
        "f1_weighted": (f1_scores * weights).sum(axis=1),
        "precision_weighted": (_shares(hits, said) * weights).sum(axis=1),
    }


def _shares(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


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
    tosses = _tosses(value, value, spread)
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
    # Were scores right, each gap would scatter so.
    seen = float((gaps * gaps * rows / np.maximum(score * (1.0 - score), 1e-9)).sum())
    return Interval(value, value * _sure_part(seen, len(rows)), max(value, upper))


def _sure_part(seen: float, bins: int) -> float:
    """Of gaps whose squares add up to ``seen``, in units of chance's, the part that is there whatever chance did."""
    if seen <= special.chdtri(bins, _TAIL):
        return 0.0
    return math.sqrt(min(1.0, float(special.chndtrinc(seen, bins, 1.0 - _TAIL)) / seen))


def tossed(value: float, drawn: NDArray[np.float64]) -> Interval:
    """A value in [0, 1] that scatters as those ``drawn`` do: what as many tosses say, and 95 % of the draws."""
    tosses = _tosses(value, float(drawn.mean()), float(drawn.var()))
    lower, upper = np.quantile(drawn, [_TAIL, 1.0 - _TAIL]).tolist()
    return Interval(value, min(lower, tosses.lower), max(upper, tosses.upper))


def _tosses(value: float, mean: float, variance: float) -> Interval:
    count = mean * (1.0 - mean) / variance if variance > 0.0 else 1.0
    return exact_share(value * count, count)
