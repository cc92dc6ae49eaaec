"""Judged predictions as counts that merge and that a corrected label can be taken out of again.

Binary: judged, correct, the confusion table, a histogram of scores per class, and sums for the Brier score.
Multiclass: judged, correct, and the confusion table over the known classes and one for all others.
Regression: judged, unusable, and exact sums of error, absolute error, squared error and its square.
Each is a :class:`detectors.counts.summary.Section`; taking a row with weight -1 undoes taking it with +1, byte for
byte.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import category
from detectors.counts.summary import Section, exact_sum
from driftline.columns import JudgedBatch
from driftline.monitors import Monitor, Task

SCORE_BINS = 200
#: Classes with rows and columns of their own in the confusion table; the rest share one.
MAXIMUM_CLASSES = 30
#: Scores are rounded to this many steps for the Brier sum, so that it is a whole number (error below 1e-5).
SCORE_STEPS = 1 << 16

#: Vector positions. Both kinds of classification begin with judged and correct, regression with judged and unusable.
JUDGED, CORRECT, UNUSABLE = 0, 1, 1
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE, SCORED, BRIER = 2, 3, 4, 5, 6, 7
HISTOGRAMS = 8
CONFUSION = 2
SUMS = 4
# Errors beyond this have a fourth power that no float64 holds.
_LARGEST_ERROR = 1e76


@dataclass(frozen=True, slots=True)
class PerformanceLayout:
    """What is counted of judged predictions: the task, the positive class (binary), the known classes (multiclass)."""

    task: Task
    positive: str = "1"
    classes: tuple[str, ...] = ()
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        identity = json.dumps(["driftline performance counts 1", self.task, self.positive, self.classes])
        object.__setattr__(self, "fingerprint", hashlib.sha256(identity.encode()).hexdigest()[:16])

    @property
    def size(self) -> int:
        """Length of the vector."""
        if self.task == "regression":
            return 2
        if self.task == "binary":
            return HISTOGRAMS + 2 * SCORE_BINS
        return CONFUSION + (len(self.classes) + 1) ** 2

    def empty(self) -> Section:
        """Nothing judged yet."""
        return Section(np.zeros(self.size, dtype=np.int64), (0,) * SUMS if self.task == "regression" else ())

    def confusion(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Multiclass counts of shape (classes + 1, classes + 1): row = label, column = prediction, last = others."""
        side = len(self.classes) + 1
        return values[CONFUSION:].reshape(side, side)


def performance_layout(monitor: Monitor, classes: tuple[str, ...] = ()) -> PerformanceLayout:
    """The layout for a monitor; ``classes`` as the reference knows them, the most frequent first."""
    if monitor.task == "binary":
        return PerformanceLayout("binary", monitor.prediction.positive)
    return PerformanceLayout(monitor.task, "", tuple(sorted(classes[:MAXIMUM_CLASSES])))


def count_judged(layout: PerformanceLayout, judged: JudgedBatch) -> Section:
    """The judged rows as counts, each times its weight."""
    if layout.task == "regression":
        return _count_regression(judged)
    if layout.task == "binary":
        return Section(_binary_counts(layout, judged, [len(judged.weight)])[0])
    return _count_multiclass(layout, judged)


def _count_regression(judged: JudgedBatch) -> Section:
    with np.errstate(invalid="ignore", over="ignore"):
        errors = _floats(judged.prediction) - _floats(judged.label)
        usable = np.abs(errors) < _LARGEST_ERROR
    errors, weights = errors[usable], judged.weight[usable]
    values = np.array([weights.sum(), judged.weight[~usable].sum()], dtype=np.int64)
    squares = errors * errors
    sums = tuple(exact_sum(terms, weights) for terms in (errors, np.abs(errors), squares, squares * squares))
    return Section(values, sums)


def _floats(values: NDArray[np.object_] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def count_judged_apart(layout: PerformanceLayout, judged: JudgedBatch, counts: Sequence[int]) -> list[Section]:
    """As :func:`count_judged`, for consecutive groups of so many rows each: thousands of small windows at once."""
    if layout.task == "binary":
        return [Section(values) for values in _binary_counts(layout, judged, counts)]
    found, start = [], 0
    for count in counts:
        here = slice(start, start + count)
        part = JudgedBatch(judged.prediction[here], judged.score[here], judged.label[here], judged.weight[here])
        found.append(count_judged(layout, part))
        start += count
    return found


def _binary_counts(layout: PerformanceLayout, judged: JudgedBatch, counts: Sequence[int]) -> NDArray[np.int64]:
    """Shape (groups, layout size). Sums of whole numbers are exact in float64, which ``bincount`` adds in."""
    groups = len(counts)
    values = np.zeros((groups, layout.size), dtype=np.int64)
    owners = np.repeat(np.arange(groups), counts)
    weights = np.asarray(judged.weight, dtype=np.int64)
    truth, said = _are(layout.positive, judged.label), _are(layout.positive, judged.prediction)
    table = np.bincount(4 * owners + 2 * truth + said, weights, minlength=4 * groups).reshape(groups, 4)
    values[:, [TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE]] = table
    values[:, JUDGED], values[:, CORRECT] = table.sum(axis=1), table[:, 0] + table[:, 3]
    score = np.asarray(judged.score, dtype=np.float64)
    usable = (score >= 0.0) & (score <= 1.0)
    owners, score, truth, weights = owners[usable], score[usable], truth[usable], weights[usable]
    steps = np.rint(score * SCORE_STEPS).astype(np.int64) - truth * SCORE_STEPS
    np.add.at(values[:, SCORED], owners, weights)
    np.add.at(values[:, BRIER], owners, steps * steps * weights)
    bins = np.minimum((score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1) + truth * SCORE_BINS
    np.add.at(values, (owners, HISTOGRAMS + bins), weights)
    return values


def _are(positive: str, values: NDArray[np.object_] | NDArray[np.float64]) -> NDArray[np.bool_]:
    listed = values.tolist()
    known = {value: category(value) == positive for value in set(listed)}
    return np.array([known[value] for value in listed], dtype=np.bool_)


def _count_multiclass(layout: PerformanceLayout, judged: JudgedBatch) -> Section:
    values = np.zeros(layout.size, dtype=np.int64)
    weights = np.asarray(judged.weight, dtype=np.int64)
    codes = {name: code for code, name in enumerate(layout.classes)}
    other, side = len(codes), len(codes) + 1
    labels = [category(label) for label in judged.label]
    predictions = [category(prediction) for prediction in judged.prediction]
    correct = np.array([mine == theirs for mine, theirs in zip(labels, predictions, strict=True)], dtype=bool)
    values[JUDGED], values[CORRECT] = weights.sum(), weights[correct].sum()
    cells = [
        codes.get(label or "", other) * side + codes.get(said or "", other)
        for label, said in zip(labels, predictions, strict=True)
    ]
    np.add.at(values, CONFUSION + np.array(cells, dtype=np.intp), weights)
    return Section(values)
