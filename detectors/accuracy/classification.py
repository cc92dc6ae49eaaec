"""Metrics of classifications from their counts, each with a 95 % interval.

Accuracy, precision and recall: Wilson. F1: Wilson of the share of which it is a function. Means over classes: bootstrap
of the confusion table (multinomial, seeded). AUC: DeLong's variance, exact on the score bins with ties counted half.
Brier score: normal, its variance from the score bins. Log loss: normal on the logarithmic scale. Calibration error:
mean gap between score and share of positives over ten bins, bootstrap of the positives per bin.

Sources: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more correlated receiver
operating characteristic curves, 1988; D. J. Hand, P. Christen, N. Kirielle, F*: an interpretable transformation of the
F-measure, 2021; G. W. Brier, Verification of forecasts expressed in terms of probability, 1950.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.measure import Measure
from detectors.counts import performance_counts as at
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.statistics.wilson import Z_95, wilson
from driftline.results import Interval

_DRAWS = 200
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
    accuracy = Measure("accuracy", wilson(int(values[at.CORRECT]), judged), "smaller_is_worse")
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
        measures.append(Measure("precision", wilson(tp, tp + fp), "smaller_is_worse"))
    if tp + fn:
        measures.append(Measure("recall", wilson(tp, tp + fn), "smaller_is_worse"))
        measures.append(Measure("f1", f1(tp, fp, fn), "smaller_is_worse"))
    return measures


def _score_measures(layout: PerformanceLayout, values: NDArray[np.int64], rng: np.random.Generator) -> list[Measure]:
    scored = int(values[at.SCORED])
    if scored <= 0:
        return []
    negatives, positives = np.maximum(layout.histograms(values), 0)
    measures = [
        Measure(
            "log_loss", log_loss(int(values[at.LOG_LOSS]), int(values[at.LOG_LOSS_SQUARES]), scored), "larger_is_worse"
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
    (0.0, 0.0, 0.39)
    """
    share = wilson(tp, tp + fp + fn)
    value, lower, upper = (2.0 * j / (1.0 + j) for j in (share.value, share.lower, share.upper))
    return Interval(value, lower, upper)


def class_measures(classes: Sequence[str], confusion: NDArray[np.int64], rng: np.random.Generator) -> list[Measure]:
    """Means over the classes that occur, alike (macro) and by how often they do (weighted), and each class's own.

    ``confusion`` of shape (classes + 1, classes + 1), row = label, the last one all others. A class that was never said
    has precision 0. The weighted recall is left out: it is the accuracy. Classes alone: precision and recall, Wilson,
    where there are few enough of them to be read.
    """
    total = int(confusion.sum())
    if total == 0:
        return []
    side = len(confusion)
    filled = np.flatnonzero(confusion)
    drawn = np.zeros((_DRAWS, side * side))
    drawn[:, filled] = rng.multinomial(total, confusion.ravel()[filled] / total, size=_DRAWS)
    scattered = _means(drawn.reshape(_DRAWS, side, side))
    measures = [
        Measure(name, _percentiles(float(value[0]), scattered[name]), "smaller_is_worse")
        for name, value in _means(confusion[None].astype(np.float64)).items()
    ]
    for place, name in enumerate(classes if len(classes) <= _MOST_CLASSES_ALONE else ()):
        hits, said, there = int(confusion[place, place]), int(confusion[:, place].sum()), int(confusion[place].sum())
        if said:
            measures.append(Measure(f"precision[{name}]", wilson(hits, said), "smaller_is_worse"))
        if there:
            measures.append(Measure(f"recall[{name}]", wilson(hits, there), "smaller_is_worse"))
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

    >>> auc(np.array([10, 0]), np.array([0, 10])).value
    1.0
    """
    n, m = int(negatives.sum()), int(positives.sum())
    # For each bin, the share of the other class that it beats, ties half.
    beaten = (np.cumsum(negatives) - negatives / 2.0) / n
    beating = 1.0 - (np.cumsum(positives) - positives / 2.0) / m
    value = float(beaten @ positives) / m
    spread = float(positives @ (beaten - value) ** 2) / max(m - 1, 1) / m
    spread += float(negatives @ (beating - value) ** 2) / max(n - 1, 1) / n
    half = Z_95 * math.sqrt(spread)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def brier(total: int, scored: int, negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> Interval:
    """Mean squared gap between score and outcome, in [0, 1]; ``total`` as counted, in squared score steps."""
    value = total / scored / at.SCORE_STEPS**2
    middles = (np.arange(at.SCORE_BINS) + 0.5) / at.SCORE_BINS
    fourth = (float(negatives @ middles**4) + float(positives @ (1.0 - middles) ** 4)) / scored
    half = Z_95 * math.sqrt(max(0.0, fourth - value * value) / scored)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def log_loss(total: int, squares: int, scored: int) -> Interval:
    """Mean of minus the logarithm of the probability of what happened; ``total`` and ``squares`` as counted.

    The interval is on the logarithmic scale: losses have a heavy tail upwards.
    """
    value = total / scored / at.LOSS_STEPS
    if value <= 0.0:
        return Interval(0.0, 0.0, 0.0)
    variance = max(0.0, squares / scored / at.LOSS_SQUARE_STEPS**2 - value * value)
    factor = math.exp(min(50.0, Z_95 * math.sqrt(variance / scored) / value))
    return Interval(value, value / factor, value * factor)


def calibration_error(negatives: NDArray[np.int64], positives: NDArray[np.int64], rng: np.random.Generator) -> Interval:
    """Expected calibration error over ten equal bins of the score, in [0, 1].

    What chance adds to the gap of a bin is taken off, in squares: otherwise a small window would look worse calibrated
    than a large reference whatever the model does. Source of the idea: A. Kumar, P. Liang, T. Ma, Verified uncertainty
    calibration, 2019.
    """
    middles = (np.arange(at.SCORE_BINS) + 0.5) / at.SCORE_BINS
    together = (negatives + positives).astype(np.float64)
    rows = together.reshape(_CALIBRATION_BINS, -1).sum(axis=1)
    used = rows > 0
    score = (together * middles).reshape(_CALIBRATION_BINS, -1).sum(axis=1)[used] / rows[used]
    hits = positives.reshape(_CALIBRATION_BINS, -1).sum(axis=1)[used]
    rows = rows[used]
    drawn = rng.binomial(rows.astype(np.int64), hits / rows, size=(_DRAWS, len(rows))) / rows
    noise = hits / rows * (1.0 - hits / rows) / rows
    value = float(_mean_gap(hits / rows - score, noise, rows))
    # A drawn sample is twice as noisy as the sample it is drawn from.
    return _percentiles(value, _mean_gap(drawn - score, 2.0 * noise, rows))


def _mean_gap(gaps: NDArray[np.float64], noise: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = np.sqrt(np.maximum(gaps * gaps - noise, 0.0)) @ rows / rows.sum()
    return weighted


def _percentiles(value: float, drawn: NDArray[np.float64]) -> Interval:
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, min(value, float(lower)), max(value, float(upper)))
