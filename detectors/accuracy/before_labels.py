"""What is said of accuracy, or of a regression's errors, beside labels: estimated before them, corrected by the first
of them, how labels shifted, and why accuracy changed.

Results are of kind *performance*: ``estimated_*`` and ``label_shift`` until there are labels enough for a verdict,
``corrected_accuracy`` from the first labels until nearly all are there, and ``accuracy_change_*`` where accuracy is not
the reference's. What needs no labels has no label coverage.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.accuracy.cbpe import auc_beyond_bins, estimated
from detectors.accuracy.change_words import Change
from detectors.accuracy.decomposition import completed, decompose
from detectors.accuracy.direct_loss import corrected_size, estimated_size
from detectors.accuracy.label_shift import mlls
from detectors.accuracy.measure import Measure
from detectors.accuracy.performance import Expected, is_worse, measured_result, seeded, spelt
from detectors.accuracy.prediction_powered import Labelled, corrected_share
from detectors.accuracy.strata import Strata, label_shares, strata_of
from detectors.counts.performance_counts import STRATUM_STEPS, PerformanceLayout
from detectors.counts.summary import Section
from detectors.statistics.reasons import percent
from driftline.p_values import p_text
from driftline.results import Interval, Result, Verdict, WindowKey

#: From this share of labels on, what they say needs no estimate.
ENOUGH_LABELS = 0.95
#: Fewer labels correct nothing.
FEWEST_LABELS = 30
#: Fewer judged reference rows calibrate nothing.
FEWEST_REFERENCE_ROWS = 100
# So many times as many predictions in the outermost strata as the reference has, and most lie beyond its range.
_MANY_BEYOND = 3.0
# Of "nothing but the labels' shares changed": below, something else did.
_FITS = 0.01
# Standard errors that a change of accuracy has to be: chance does it once in a thousand windows.
_SURE = 3.29


@dataclass(frozen=True, slots=True)
class Window:
    """A window's counts: those of judged rows, those of all rows by stratum, and how many rows there are."""

    key: WindowKey
    judged: Section | None
    counted: Section | None
    rows: int
    minimum_rows: int


def before_label_results(
    window: Window, layout: PerformanceLayout, reference: Section | None, expected: Expected | None
) -> list[Result]:
    """Results beside those of the labels alone; none without labels in the reference, and none of rankings."""
    if layout.task == "ranking":
        return []
    if layout.task == "regression":
        return _sizes(window, layout, reference, expected)
    strata = strata_of(layout, reference, window.counted, window.judged)
    if strata is None or expected is None or strata.reference.sum() < FEWEST_REFERENCE_ROWS:
        return []
    results: list[Result] = []
    if strata.rows.sum() >= window.minimum_rows > strata.judged.sum():
        shift, shifted = _label_shift(window, layout, strata, expected)
        results.extend(_estimates(window, strata, expected, shifted))
        results.extend(shift)
    if strata.judged.sum() >= FEWEST_LABELS:
        results.extend(_corrections(window, strata, expected))
        results.extend(_changes(window, strata, expected))
    return results


def _estimates(window: Window, strata: Strata, expected: Expected, shifted: NDArray[np.float64] | None) -> list[Result]:
    exact = expected.measures.get("auc")
    beyond = auc_beyond_bins(strata, None if exact is None else exact.interval.value)
    found = estimated(strata, beyond)
    otherwise = {} if shifted is None else estimated(strata, beyond, shifted)
    rows = int(strata.rows.sum())
    results = []
    for name, interval in found.items():
        measure = Measure(f"estimated_{name}", interval, "smaller_is_worse")
        known = expected.measures.get(name)
        told = f"{name} {spelt(interval)} estimated without labels, from what the model said of {rows} rows"
        verdict, told = _compared(measure, known, told)
        if name in otherwise:
            other = Measure(measure.name, otherwise[name], measure.direction)
            told = f"{told}; {spelt(other.interval)} if labels shifted"
            if verdict is Verdict.WARNING and known is not None and not is_worse(other, known):
                verdict, told = Verdict.OK, f"{told}, and then it is not"
        results.append(measured_result(window.key, measure, known, verdict, told, rows, expected.judged, None))
    return results


def _sizes(
    window: Window, layout: PerformanceLayout, reference: Section | None, expected: Expected | None
) -> list[Result]:
    """A regression's mean size of errors: estimated until labels can judge it, corrected until nearly all are there."""
    if reference is None or expected is None or window.counted is None:
        return []
    unit = layout.scale / STRATUM_STEPS
    units = np.array([1.0, unit, unit * unit])
    before = layout.outcome_table(reference.values)[:, :3] * units
    empty = np.zeros_like(before)
    judged = empty if window.judged is None else layout.outcome_table(window.judged.values)[:, :3] * units
    rows = np.maximum(window.counted.values, judged[:, 0])
    if before[:, 0].sum() < FEWEST_REFERENCE_ROWS or rows.sum() < window.minimum_rows:
        return []
    known, labels, told_rows = expected.measures.get("mae"), int(judged[:, 0].sum()), int(rows.sum())
    results = []
    if labels < window.minimum_rows:
        measure = Measure("estimated_mae", estimated_size(before, rows), "larger_is_worse")
        told = f"mae {spelt(measure.interval)} estimated without labels, from what the model said of {told_rows} rows"
        verdict, told = _compared(measure, known, told + _beyond(before[:, 0], rows))
        results.append(measured_result(window.key, measure, known, verdict, told, told_rows, expected.judged, None))
    found = corrected_size(before, rows, judged) if FEWEST_LABELS <= labels < ENOUGH_LABELS * told_rows else None
    if found is not None:
        measure = Measure("corrected_mae", found, "larger_is_worse")
        told = f"mae {spelt(found)} of all {told_rows} rows, corrected by the {labels} labels that came so far"
        verdict, told = _compared(measure, known, told)
        coverage = labels / told_rows
        results.append(measured_result(window.key, measure, known, verdict, told, labels, expected.judged, coverage))
    return results


def _beyond(before: NDArray[np.float64], rows: NDArray[np.float64]) -> str:
    """What is said where many predictions are as large or small as few of the reference's, ``before``, shape (S,)."""
    ends = [0, -2]  # the last stratum is of rows without a prediction
    known, now = (float(each[ends].sum() / each.sum()) for each in (before, rows))
    if now <= _MANY_BEYOND * known:
        return ""
    return (
        f"; {percent(now)} of the predictions are among the largest and smallest, {percent(known)} in the reference: "
        "how large errors are beyond those is a guess"
    )


def _corrections(window: Window, strata: Strata, expected: Expected) -> list[Result]:
    labels, right = strata.judged.sum(axis=1), (strata.judged * strata.right).sum(axis=1)
    if labels.sum() >= ENOUGH_LABELS * strata.rows.sum():
        return []
    guess = (label_shares(strata.said, strata.reference) * strata.right).sum(axis=1)
    interval = corrected_share(Labelled(strata.rows, labels, right, right, guess))
    if interval is None:
        return []
    judged, rows = int(labels.sum()), int(strata.rows.sum())
    told = f"accuracy {spelt(interval)} of all {rows} rows, corrected by the {judged} labels that came so far"
    measure = Measure("corrected_accuracy", interval, "smaller_is_worse")
    known = expected.measures.get("accuracy")
    verdict, told = _compared(measure, known, told)
    return [measured_result(window.key, measure, known, verdict, told, judged, expected.judged, judged / rows)]


def _compared(measure: Measure, known: Measure | None, told: str) -> tuple[Verdict, str]:
    if known is None:
        return Verdict.OK, told
    told = f"{told}; reference {spelt(known.interval)}"
    if is_worse(measure, known):
        return Verdict.WARNING, f"{told}: the intervals are apart, it is worse"
    return Verdict.OK, told


def _label_shift(
    window: Window, layout: PerformanceLayout, strata: Strata, expected: Expected
) -> tuple[list[Result], NDArray[np.float64] | None]:
    """What is said of the labels' shares, and, where they shifted, the shares of labels per stratum that follow."""
    names: Sequence[str] = [f"not {layout.positive}", layout.positive] if layout.task == "binary" else layout.classes
    # Labels that the reference never had have no look of their own; their rows stay strata of others.
    used = [label for label in range(strata.reference.shape[1]) if strata.reference[:, label].sum() > 0.0]
    found = mlls(strata.reference[:, used], strata.rows)
    if found is None or len(used) < 2:
        return [], None
    before = strata.reference.sum(axis=0)[used] / strata.reference.sum()
    moved = found.shares - before
    place = used.index(1) if layout.task == "binary" else int(np.argmax(np.abs(moved)))
    # Over all labels together one interval in twenty is wrong.
    z = -float(special.ndtri(0.025 / (1 if layout.task == "binary" else len(used))))
    interval = found.interval(place, z)
    scatter = z * math.sqrt(before[place] * (1.0 - before[place]) / strata.reference.sum())
    shifted = interval.lower > before[place] + scatter or interval.upper < before[place] - scatter
    label = used[place]
    name = names[label] if label < len(names) else "other labels"
    share = f"{percent(interval.value)} ({percent(interval.lower)} to {percent(interval.upper)})"
    told = f"share of label {name} estimated at {share}, {percent(float(before[place]))} in the reference"
    verdict, shares = Verdict.OK, None
    if shifted and found.p_value >= _FITS:
        verdict, told = Verdict.WARNING, f"{told}: labels shifted, which explains what the model says"
        shares = label_shares(strata.said, strata.reference)
        shares[:, used] *= found.shares / before
        shares /= shares.sum(axis=1, keepdims=True)
    elif found.p_value < _FITS:
        told = f"{told}, if labels alone shifted, which they did not ({p_text(found.p_value)})"
    measure = Measure("label_shift", interval, "larger_is_worse")
    known = Measure("label_shift", Interval(float(before[place]), 0.0, 1.0), "larger_is_worse")
    rows = int(strata.rows.sum())
    return [measured_result(window.key, measure, known, verdict, told, rows, expected.judged, None)], shares


_MEANINGS = {
    "covariate": "rows of another kind than in the reference",
    "label": "labels of another frequency",
    "concept": "rows alike to the model having other labels",
}


def _changes(window: Window, strata: Strata, expected: Expected) -> list[Result]:
    """Why accuracy changed; nothing where it did not."""
    now = completed(strata)
    if not _moved(strata, now):
        return []
    found = decompose(strata.said, strata.reference, now, seeded(window.key))
    if found.change.lower <= 0.0 <= found.change.upper:
        return []
    judged, change = int(strata.judged.sum()), Change(found.change.value, in_points=True)
    results = []
    for name, interval in found.parts:
        why = f"{_MEANINGS[name]} ({name} shift)"
        told = f"accuracy changed by {change.spelt(found.change)}; {change.range(interval)} of it by {why}"
        explains = abs(interval.value) >= abs(found.change.value) / 2.0 and not interval.lower <= 0.0 <= interval.upper
        verdict = Verdict.WARNING if explains and found.change.value < 0.0 else Verdict.OK
        measure = Measure(f"accuracy_change_{name}", interval, "smaller_is_worse")
        coverage = min(1.0, judged / strata.rows.sum())
        results.append(measured_result(window.key, measure, None, verdict, told, judged, expected.judged, coverage))
    return results


def _moved(strata: Strata, now: NDArray[np.float64]) -> bool:
    """Whether accuracy changed for sure: what chance alone does has no cause that could be told."""
    sizes = strata.reference.sum(), now.sum()
    tables = strata.reference, now
    first, second = (float((table * strata.right).sum() / size) for table, size in zip(tables, sizes, strict=True))
    scatter = sum(share * (1.0 - share) / size for share, size in zip((first, second), sizes, strict=True))
    return abs(second - first) > _SURE * math.sqrt(scatter)
