"""Judged predictions as counts that merge and that a corrected label can be taken out of again.

Binary: judged, correct, the confusion table, a histogram of scores per class, sums for the Brier score and log loss.
Multiclass: judged, correct, the confusion table over the known classes and one for all others, and a histogram of
scores (the probability of the predicted class) of wrong and of right predictions.
Regression: judged, unusable, a histogram of errors, and exact sums of errors and labels.
Ranking: sums of each query's metrics (:mod:`detectors.counts.ranking_counts`), and nothing else.

The first three end with the same counts per *stratum*: what the model said, and how sure it was (classification:
prediction by score; regression: prediction), cut where the reference was cut. Rows without labels are counted by
stratum too (:func:`count_strata`), which is what lets accuracy be estimated before labels, and corrected by the first
of them.

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
from detectors.counts.counting import numbers
from detectors.counts.ranking_counts import SIZE as RANKING_SIZE
from detectors.counts.ranking_counts import count_queries
from detectors.counts.summary import Section, exact_sum
from driftline.columns import CodedTexts, ColumnBatch, JudgedBatch, JudgedColumn
from driftline.monitor_ranking import RankingSpec
from driftline.monitors import Monitor, Task

SCORE_BINS = 200
#: Classes with rows and columns of their own in the confusion table; the rest share one.
MAXIMUM_CLASSES = 30
#: Scores are rounded to this many steps for the Brier sum, so that it is a whole number (error below 1e-5).
SCORE_STEPS = 1 << 16
#: Log losses are rounded to this many steps; their squares are sums of whole numbers of so many steps.
LOSS_STEPS, LOSS_SQUARE_STEPS = 1 << 16, 1 << 10
#: A probability of zero for what happened would cost infinitely much; it counts as this.
SMALLEST_PROBABILITY = 1e-15

#: Vector positions. Classification begins with judged and correct, regression with judged and unusable.
JUDGED, CORRECT, UNUSABLE = 0, 1, 1
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE, SCORED, BRIER = 2, 3, 4, 5, 6, 7
LOG_LOSS, LOG_LOSS_SQUARES = 8, 9
HISTOGRAMS = 10
#: Multiclass: histograms of scores of wrong and right predictions, then the confusion table.
CONFIDENCES = 2
CONFUSION = CONFIDENCES + 2 * SCORE_BINS
#: Regression: errors by sign and size, in quarters of octaves of the layout's scale; zero stands in the middle.
ERROR_OCTAVES, ERROR_STEPS = 32, 4
ERROR_BINS = 2 * ERROR_OCTAVES * ERROR_STEPS
ERRORS = 2
#: Exact sums: of errors their value, size, square and fourth power; of labels, less the layout's centre, powers one to
#: four; of both together squared errors times labels, and times squared labels.
SUMS = 10
#: Regression strata hold rows, and errors (size, square, signed) in this many steps of the scale.
STRATUM_STEPS = 1 << 14
_LARGEST_STEPS = 1 << 20
_STRATUM_FIELDS = 4
# Errors and labels beyond this have a fourth power that no float64 holds.
_LARGEST = 1e76


@dataclass(frozen=True, slots=True)
class PerformanceLayout:
    """What is counted of judged predictions: the task, the positive class (binary), the known classes (multiclass).

    ``cuts``: where strata are cut, ascending: of the score (classification), of the prediction (regression).
    ``centre``, ``scale``: about where labels of a regression lie, and how far apart. ``ranking``: how queries are
    judged.
    """

    task: Task
    positive: str = "1"
    classes: tuple[str, ...] = ()
    cuts: tuple[float, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    ranking: RankingSpec = field(default_factory=RankingSpec)
    fingerprint: str = field(init=False)
    strata_fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        identity: list[object] = [self.task, self.positive, self.classes, self.cuts, self.centre, self.scale]
        if self.task == "ranking":
            identity.append(self.ranking.model_dump(exclude={"query"}))
        for name, what in (("fingerprint", "performance counts 2"), ("strata_fingerprint", "strata counts 1")):
            text = json.dumps([f"driftline {what}", *identity])
            object.__setattr__(self, name, hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.strata_at + self.strata * self.outcomes

    @property
    def strata_at(self) -> int:
        """Where the strata begin in the vector."""
        if self.task == "ranking":
            return RANKING_SIZE
        if self.task == "regression":
            return ERRORS + 2 * ERROR_BINS + 1
        if self.task == "binary":
            return HISTOGRAMS + 2 * SCORE_BINS
        return CONFUSION + self.side**2

    @property
    def side(self) -> int:
        """Predictions that are told apart: negative and positive, the classes and all others, or (regression) none.

        A ranking has no strata at all.
        """
        return {"binary": 2, "regression": 1, "ranking": 0}.get(self.task, len(self.classes) + 1)

    @property
    def strata(self) -> int:
        """How many strata there are: per prediction the bins between the cuts, and one without a usable score."""
        return self.side * (len(self.cuts) + 2)

    @property
    def outcomes(self) -> int:
        """Numbers per stratum: rows per label, or (regression) rows, and sums of sizes, squares and errors."""
        return _STRATUM_FIELDS if self.task == "regression" else self.side

    def empty(self) -> Section:
        """Nothing judged yet."""
        return Section(np.zeros(self.size, dtype=np.int64), (0,) * SUMS if self.task == "regression" else ())

    def confusion(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Multiclass counts of shape (classes + 1, classes + 1): row = label, column = prediction, last = others."""
        return values[CONFUSION : self.strata_at].reshape(self.side, self.side)

    def histograms(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows per score bin, shape (2, SCORE_BINS): negatives and positives; multiclass: wrong and right."""
        start = HISTOGRAMS if self.task == "binary" else CONFIDENCES
        return values[start : start + 2 * SCORE_BINS].reshape(2, SCORE_BINS)

    def outcome_table(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Judged rows per stratum and label, shape (strata, labels); regression: see :attr:`outcomes`."""
        return values[self.strata_at :].reshape(self.strata, self.outcomes)

    def stratum_said(self) -> NDArray[np.intp]:
        """The prediction of each stratum, shape (strata,)."""
        return np.repeat(np.arange(self.side), len(self.cuts) + 2)


def performance_layout(
    monitor: Monitor,
    classes: tuple[str, ...] = (),
    cuts: tuple[float, ...] = (),
    centre: float = 0.0,
    scale: float = 1.0,
) -> PerformanceLayout:
    """The layout for a monitor; ``classes`` as the reference knows them, the most frequent first."""
    if monitor.task == "binary":
        return PerformanceLayout("binary", monitor.prediction.positive, (), cuts)
    known = tuple(sorted(classes[:MAXIMUM_CLASSES]))
    return PerformanceLayout(monitor.task, "", known, cuts, centre, scale, monitor.ranking)


def count_judged(layout: PerformanceLayout, judged: JudgedBatch) -> Section:
    """The judged rows as counts, each times its weight."""
    if layout.task == "ranking":
        return Section(count_queries(layout.ranking, judged))
    if layout.task == "regression":
        return _count_regression(layout, judged)
    if layout.task == "binary":
        return Section(_binary_counts(layout, judged, [len(judged.weight)])[0])
    return _count_multiclass(layout, judged)


def count_judged_apart(layout: PerformanceLayout, judged: JudgedBatch, counts: Sequence[int]) -> list[Section]:
    """As :func:`count_judged`, for consecutive groups of so many rows each: thousands of small windows at once."""
    if layout.task == "binary":
        return [Section(values) for values in _binary_counts(layout, judged, counts)]
    found, start = [], 0
    for count in counts:
        found.append(count_judged(layout, judged.take(slice(start, start + count))))
        start += count
    return found


def count_strata(layout: PerformanceLayout, monitor: Monitor, rows: ColumnBatch) -> Section:
    """Rows per stratum, labelled or not; rows without a prediction are in none, and a ranking has no strata."""
    if layout.task == "ranking":
        return Section(np.zeros(0, dtype=np.int64))
    name = monitor.prediction.column
    if layout.task == "regression":
        said = numbers(rows, name)
        strata = _score_bins(layout, said)[np.isfinite(said)]
    else:
        score = np.full(rows.rows, np.nan)
        if monitor.prediction.score is not None:
            score = numbers(rows, monitor.prediction.score)
        values = rows.text.get(name, rows.numeric.get(name))
        listed: list[object] = [None] * rows.rows if values is None else values.tolist()
        codes = {value: _said_code(layout, value) for value in set(listed)}
        predicted = np.array([codes[value] for value in listed], dtype=np.intp)
        strata = _strata(layout, predicted, score)[predicted >= 0]
    return Section(np.bincount(strata, minlength=layout.strata))


def _said_code(layout: PerformanceLayout, value: object) -> int:
    name = category(value)
    if name is None:
        return -1
    if layout.task == "binary":
        return int(name == layout.positive)
    return layout.classes.index(name) if name in layout.classes else len(layout.classes)


def _strata(layout: PerformanceLayout, said: NDArray[np.intp], score: NDArray[np.float64]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = said * (len(layout.cuts) + 2) + _score_bins(layout, score)
    return found


def _score_bins(layout: PerformanceLayout, score: NDArray[np.float64]) -> NDArray[np.intp]:
    bins = np.zeros(len(score), dtype=np.intp)
    if layout.cuts:
        bins = np.searchsorted(np.array(layout.cuts), score, side="right")
    bins[~np.isfinite(score)] = len(layout.cuts) + 1
    return bins


# --- regression -------------------------------------------------------------------------------------------------------
def _count_regression(layout: PerformanceLayout, judged: JudgedBatch) -> Section:
    said, truth = _floats(judged.prediction), _floats(judged.label)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = said - truth
        usable = (np.abs(errors) < _LARGEST) & (np.abs(truth) < _LARGEST)
    said, errors, weights = said[usable], errors[usable], judged.weight[usable]
    values = np.zeros(layout.size, dtype=np.int64)
    values[JUDGED], values[UNUSABLE] = weights.sum(), judged.weight[~usable].sum()
    np.add.at(values, ERRORS + error_bins(errors / layout.scale), weights)
    table = layout.outcome_table(values)
    strata = _score_bins(layout, said)
    steps = np.rint(np.clip(errors / layout.scale * STRATUM_STEPS, -_LARGEST_STEPS, _LARGEST_STEPS)).astype(np.int64)
    for place, terms in enumerate((np.ones_like(steps), np.abs(steps), steps * steps, steps)):
        np.add.at(table[:, place], strata, terms * weights)
    squares = errors * errors
    labels = truth[usable] - layout.centre
    label_squares = labels * labels
    of_errors = (errors, np.abs(errors), squares, squares * squares)
    of_labels = (labels, label_squares, label_squares * labels, label_squares * label_squares)
    together = (squares * labels, squares * label_squares)
    return Section(values, tuple(exact_sum(terms, weights) for terms in (*of_errors, *of_labels, *together)))


def error_bins(errors: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each error, in units of the scale: the most negative first, zero in the middle.

    >>> error_bins(np.array([-1.0, 0.0, 1.0, 2.0])).tolist()
    [127, 256, 385, 389]
    """
    exponents = np.log2(np.abs(errors), where=errors != 0.0, out=np.zeros(len(errors)))
    sizes = np.clip(np.floor((exponents + ERROR_OCTAVES) * ERROR_STEPS), 0, ERROR_BINS - 1).astype(np.intp) + 1
    bins: NDArray[np.intp] = ERROR_BINS + np.sign(errors).astype(np.intp) * sizes
    return bins


def _floats(values: JudgedColumn) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


# --- classification ---------------------------------------------------------------------------------------------------
def _binary_counts(layout: PerformanceLayout, judged: JudgedBatch, counts: Sequence[int]) -> NDArray[np.int64]:
    """Shape (groups, layout size). Sums of whole numbers are exact in float64, which ``bincount`` adds in."""
    groups, sizes = len(counts), np.asarray(counts, dtype=np.intp)
    values = np.zeros((groups, layout.size), dtype=np.int64)
    owners = np.repeat(np.arange(groups), sizes)
    weights = np.asarray(judged.weight, dtype=np.int64)
    truth, said = _are(layout.positive, judged.label), _are(layout.positive, judged.prediction)
    table = np.bincount(4 * owners + 2 * truth + said, weights, minlength=4 * groups).reshape(groups, 4)
    values[:, [TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE]] = table
    values[:, JUDGED], values[:, CORRECT] = table.sum(axis=1), table[:, 0] + table[:, 3]
    score = np.asarray(judged.score, dtype=np.float64)
    strata = _strata(layout, said.astype(np.intp), score) * 2 + truth
    _add(values, owners, layout.strata_at + strata, weights)
    usable = (score >= 0.0) & (score <= 1.0)
    if not usable.all():
        owners, score, truth, weights = owners[usable], score[usable], truth[usable], weights[usable]
        sizes = np.bincount(owners, minlength=groups)
    steps = np.rint(score * SCORE_STEPS).astype(np.int64) - truth * SCORE_STEPS
    losses = -np.log(np.maximum(np.where(truth, score, 1.0 - score), SMALLEST_PROBABILITY))
    squared = np.rint(losses * LOSS_SQUARE_STEPS).astype(np.int64) ** 2
    log_losses = np.rint(losses * LOSS_STEPS).astype(np.int64)
    for place, terms in ((SCORED, 1), (BRIER, steps * steps), (LOG_LOSS, log_losses), (LOG_LOSS_SQUARES, squared)):
        values[:, place] = _sums(terms * weights, sizes)
    _add(values, owners, HISTOGRAMS + _histogram_bins(score) + truth * SCORE_BINS, weights)
    return values


def _sums(terms: NDArray[np.int64], sizes: NDArray[np.intp]) -> NDArray[np.int64]:
    """The sum of each group of so many terms that follow each other."""
    found = np.zeros(len(sizes), dtype=np.int64)
    filled = np.flatnonzero(sizes)
    if len(filled):
        found[filled] = np.add.reduceat(terms, (np.cumsum(sizes) - sizes)[filled])
    return found


def _add(
    values: NDArray[np.int64], owners: NDArray[np.intp], places: NDArray[np.intp], terms: NDArray[np.int64]
) -> None:
    np.add.at(values.reshape(-1), owners * values.shape[1] + places, terms)


def _histogram_bins(score: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)


def _are(positive: str, values: JudgedColumn) -> NDArray[np.bool_]:
    if isinstance(values, CodedTexts):
        return np.array([*(category(text) == positive for text in values.texts), False])[values.codes]
    found = np.zeros(len(values), dtype=np.bool_)
    for value in set(values.tolist()):  # two, mostly
        if category(value) == positive:
            found |= np.asarray(values == value, dtype=np.bool_)
    return found


def _count_multiclass(layout: PerformanceLayout, judged: JudgedBatch) -> Section:
    values = np.zeros(layout.size, dtype=np.int64)
    weights = np.asarray(judged.weight, dtype=np.int64)
    codes = {name: code for code, name in enumerate(layout.classes)}
    other, side = len(codes), layout.side
    names = [category(label) for label in judged.label]
    said_names = [category(prediction) for prediction in judged.prediction]
    correct = np.array([mine == theirs for mine, theirs in zip(names, said_names, strict=True)], dtype=bool)
    values[JUDGED], values[CORRECT] = weights.sum(), weights[correct].sum()
    labels = np.array([codes.get(name or "", other) for name in names], dtype=np.intp)
    said = np.array([codes.get(name or "", other) for name in said_names], dtype=np.intp)
    np.add.at(values, CONFUSION + labels * side + said, weights)
    score = np.asarray(judged.score, dtype=np.float64)
    np.add.at(values, layout.strata_at + _strata(layout, said, score) * side + labels, weights)
    usable = (score >= 0.0) & (score <= 1.0)
    bins = _histogram_bins(score[usable]) + correct[usable] * SCORE_BINS
    np.add.at(values, CONFIDENCES + bins, weights[usable])
    return Section(values)
