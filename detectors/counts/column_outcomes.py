"""Judged rows by what a column holds: for each group of a column's values, rows and how right the model was on them.

Numbers are grouped by cuts, categories by name; missing values and unseen categories are groups of their own. Counted
are rows, their losses and the squares of these. A loss is 1 where a prediction is right (classification) or the size of
an error in steps (regression). All are whole numbers, so they add up exactly over pieces and processes.

Of a ranking queries are counted in place of rows, each with its main metric in steps, by columns that say something of
the query: that have one value for all of its candidates. Where candidates differ nevertheless, it counts as missing.

Whoever counts needs a row's columns and its label at once, as files have them; traffic has labels later and apart, so
that its rows are counted from what is stored, when an explanation is wanted.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import category
from detectors.counts.counting import numbers, texts
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.ranking_counts import RANK_STEPS, judged_queries
from detectors.counts.summary import Section
from driftline.columns import ColumnBatch, JudgedBatch, JudgedColumn, each_judged

#: Numbers per group: rows, losses, squares of losses.
FIELDS = 3
#: Sizes of errors are whole numbers of so many steps of the scale, a ranking's metrics of so many steps to 1.
LOSS_STEPS = 1 << 9
# A larger error counts as this many: squares of eight million rows in one piece stay whole in float64, and of eight
# billion in a window fit into int64.
_MOST_STEPS = 64 * LOSS_STEPS


@dataclass(frozen=True, slots=True)
class GroupedColumn:
    """The groups of one column, with a name each that a person reads.

    ``cuts``: of a numeric column, ascending; the last group holds missing values. ``codes``: of a categorical one, the
    group of each category that has one; the last three hold other known ones, unseen ones and missing values.
    """

    name: str
    names: tuple[str, ...]
    cuts: tuple[float, ...] | None = None
    codes: tuple[tuple[str, int], ...] = ()

    def groups(self, rows: ColumnBatch) -> NDArray[np.intp]:
        """The group of each row."""
        if self.cuts is not None:
            values = numbers(rows, self.name)
            found: NDArray[np.intp] = np.searchsorted(np.array(self.cuts), values, side="right")
            found[np.isnan(values)] = len(self.names) - 1
            return found
        listed = texts(rows, self.name)
        codes, unseen = dict(self.codes), len(self.names) - 2
        group_of: dict[object, int] = {}
        for value in set(listed):
            name = category(value)
            group_of[value] = unseen + 1 if name is None else codes.get(name, unseen)
        return np.array([group_of[value] for value in listed], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class OutcomeLayout:
    """The grouped columns, and how predictions are judged."""

    columns: tuple[GroupedColumn, ...]
    performance: PerformanceLayout
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        text = json.dumps(["driftline outcomes by column 1", self.performance.fingerprint, self.spelt()])
        object.__setattr__(self, "fingerprint", hashlib.sha256(text.encode()).hexdigest()[:16])

    def table(self, section: Section, index: int) -> NDArray[np.int64]:
        """The numbers of column ``index``, shape (groups, FIELDS)."""
        start = FIELDS * sum(len(column.names) for column in self.columns[:index])
        end = start + FIELDS * len(self.columns[index].names)
        return section.values[start:end].reshape(-1, FIELDS)

    def spelt(self) -> list[list[Any]]:
        """The columns as JSON has them, for :func:`read_outcomes`."""
        return [[column.name, column.names, column.cuts, column.codes] for column in self.columns]


@dataclass(frozen=True, slots=True)
class ReferenceOutcomes:
    """The groups of a reference's columns, and its own labelled rows by them."""

    layout: OutcomeLayout
    expected: Section

    def of_columns(self, names: Collection[str]) -> "ReferenceOutcomes":
        """The same of those columns alone that rows have: stored ones lack distances of vectors."""
        places = [place for place, column in enumerate(self.layout.columns) if column.name in names]
        columns = tuple(self.layout.columns[place] for place in places)
        values = [self.layout.table(self.expected, place).ravel() for place in places]
        expected = Section(np.concatenate(values) if values else np.zeros(0, dtype=np.int64))
        return ReferenceOutcomes(OutcomeLayout(columns, self.layout.performance), expected)


def read_outcomes(
    spelt: list[list[Any]] | None, performance: PerformanceLayout, arrays: Mapping[str, NDArray[Any]]
) -> ReferenceOutcomes | None:
    """What a file keeps of a reference's outcomes; None where it has none."""
    if spelt is None:
        return None
    columns = tuple(
        GroupedColumn(
            name,
            tuple(names),
            None if cuts is None else tuple(cuts),
            tuple((known, group) for known, group in codes),
        )
        for name, names, cuts, codes in spelt
    )
    return ReferenceOutcomes(OutcomeLayout(columns, performance), Section(arrays["outcomes"]))


def count_outcomes(layout: OutcomeLayout, rows: ColumnBatch, judged: JudgedBatch) -> Section:
    """The labelled rows by group of each column; ``judged`` is row by row as ``rows``, weight 0 without a label."""
    if layout.performance.task == "ranking":
        return _count_queries(layout, rows, judged)
    losses, usable = _losses(layout.performance, judged)
    known = np.flatnonzero(usable & (judged.weight > 0))
    every, losses, parts = len(known) == rows.rows, losses[known], []
    for column in layout.columns:
        groups, count = column.groups(rows), len(column.names)
        groups = groups if every else groups[known]
        total = np.bincount(groups, losses, count).astype(np.int64)
        # What is 0 or 1 is its own square.
        sized = layout.performance.task == "regression"
        squares = np.bincount(groups, losses * losses, count).astype(np.int64) if sized else total
        parts.append(np.column_stack((np.bincount(groups, minlength=count), total, squares)).ravel())
    return Section(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))


def _count_queries(layout: OutcomeLayout, rows: ColumnBatch, judged: JudgedBatch) -> Section:
    if not len(judged.weight):
        return Section(np.zeros(FIELDS * sum(len(column.names) for column in layout.columns), dtype=np.int64))
    found = judged_queries(layout.performance.ranking, judged)
    kept = found.complete & (found.weight > 0)
    steps = np.zeros(len(kept))
    steps[found.complete] = np.rint(found.steps[:, 0] * (LOSS_STEPS / RANK_STEPS))
    losses, parts = steps[kept], []
    for column in layout.columns:
        groups, count = column.groups(rows), len(column.names)
        of_query = groups[found.first]
        of_query[found.owner[groups != of_query[found.owner]]] = count - 1
        of_query = of_query[kept]
        sums = (np.bincount(of_query, terms, count).astype(np.int64) for terms in (losses, losses * losses))
        parts.append(np.column_stack((np.bincount(of_query, minlength=count), *sums)).ravel())
    return Section(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))


def _losses(layout: PerformanceLayout, judged: JudgedBatch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if layout.task == "regression":
        with np.errstate(invalid="ignore", over="ignore"):
            sizes = np.abs(np.asarray(judged.prediction, dtype=np.float64) - np.asarray(judged.label, dtype=np.float64))
            usable = np.isfinite(sizes)
            losses = np.rint(np.minimum(sizes / layout.scale * LOSS_STEPS, float(_MOST_STEPS)))
        return np.where(usable, losses, 0.0), usable
    said, truth = _categories(judged.prediction), _categories(judged.label)
    if layout.task == "binary":
        said, truth = said == layout.positive, truth == layout.positive
    return np.asarray(said == truth, dtype=np.float64), np.ones(len(said), dtype=bool)


def _categories(values: JudgedColumn) -> NDArray[Any]:
    listed = each_judged(values).tolist()
    known = {value: category(value) for value in set(listed)}
    return np.array([known[value] for value in listed], dtype=np.object_)
