"""How a reference's columns are grouped, to see on which values accuracy changed: tenths, and frequent categories."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.counts.column_outcomes import GroupedColumn, OutcomeLayout, ReferenceOutcomes, count_outcomes
from detectors.counts.counting import texts
from detectors.counts.layout import ColumnLayout, Layout
from detectors.counts.performance_counts import PerformanceLayout
from detectors.statistics.tables import GROUPS, group_starts
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor

#: Categories with a group of their own.
NAMED = 15
#: A cut is the next number above a value where that is spelt with so many digits less.
_DIGITS_LESS = 3


def outcome_layout(
    layout: Layout, counts: NDArray[np.int64], performance: PerformanceLayout, names: Sequence[str]
) -> OutcomeLayout:
    """The groups of these inputs, by the reference's counts."""
    columns = [(layout.columns[layout.index(name)], layout.counts(counts, layout.index(name))) for name in names]
    return OutcomeLayout(
        tuple(_grouped(column, counted) for column, counted in columns if not column.blank), performance
    )


def fit_outcomes(
    monitor: Monitor,
    layout: Layout,
    counts: NDArray[np.int64],
    performance: PerformanceLayout,
    rows: ColumnBatch,
    judged: JudgedBatch,
) -> ReferenceOutcomes | None:
    """The groups of a reference with its labelled rows by them; None where no column has groups."""
    tested = [column.name for column in monitor.columns if column.drift]
    if judged.query is None:
        names = [name for name in tested if name not in monitor.segments]
    else:
        # Segments, too: what is counted of these are the candidates of a query that belong to one.
        names = [name for name in tested if _same_in_query(rows, name, judged.query)]
    grouped = outcome_layout(layout, counts, performance, names)
    return ReferenceOutcomes(grouped, count_outcomes(grouped, rows, judged)) if grouped.columns else None


def _same_in_query(rows: ColumnBatch, name: str, query: NDArray[np.int64]) -> bool:
    """Whether all candidates of every query have one value."""
    if name in rows.numeric:
        codes = np.unique(rows.numeric[name], return_inverse=True)[1]
    else:
        known: dict[object, int] = {}
        codes = np.array([known.setdefault(value, len(known)) for value in texts(rows, name)], dtype=np.intp)
    _, first, owner = np.unique(query, return_index=True, return_inverse=True)
    return bool((codes == codes[first][owner]).all())


def _grouped(column: ColumnLayout, counts: NDArray[np.int64]) -> GroupedColumn:
    if column.kind == "categorical":
        return _categories(column, counts)
    starts = [int(start) for start in group_starts(counts[1:-2], GROUPS) if start > 0]
    cuts = tuple(float(column.cuts[start - 1]) for start in starts)
    names = [f"{column.name}{ending}" for ending in _endings(cuts)]
    return GroupedColumn(column.name, (*names, f"{column.name} missing"), cuts)


def _endings(cuts: Sequence[float]) -> list[str]:
    """What is said of the groups that the cuts make, behind the column's name.

    A cut is often the next number above a value, so that the value has a group of its own: people are told the value.

    >>> _endings([]), _endings([2.0])
    ([' present'], [' below 2', ' from 2'])
    >>> _endings([0.0, 5e-324, 0.25])
    [' below 0', '=0', ' above 0, below 0.25', ' from 0.25']
    """
    if not cuts:
        return [" present"]
    told = [_bound(cut) for cut in cuts]
    inner = [_between(low, high) for low, high in pairwise(told)]
    return [f" {_until(told[0])}", *inner, f" {_from(told[-1])}"]


def _bound(cut: float) -> tuple[str, bool]:
    """The number that people are told of a cut, and whether it still lies below the cut."""
    before = float(np.nextafter(cut, -np.inf))
    just_above = len(repr(before)) + _DIGITS_LESS <= len(repr(cut))
    return (f"{before:.6g}", True) if just_above else (f"{cut:.6g}", False)


def _between(low: tuple[str, bool], high: tuple[str, bool]) -> str:
    return f"={low[0]}" if low[0] == high[0] else f" {_from(low)}, {_until(high)}"


def _from(low: tuple[str, bool]) -> str:
    return f"above {low[0]}" if low[1] else f"from {low[0]}"


def _until(high: tuple[str, bool]) -> str:
    return f"up to {high[0]}" if high[1] else f"below {high[0]}"


def _categories(column: ColumnLayout, counts: NDArray[np.int64]) -> GroupedColumn:
    known = len(counts) - CATEGORICAL_EXTRA
    ranked = sorted(range(known), key=lambda code: (-int(counts[code]), code))
    chosen = sorted(ranked[:NAMED])
    codes = {column.categories[code]: group for group, code in enumerate(chosen)}
    codes |= {column.categories[code]: len(chosen) for code in ranked[NAMED:]}
    names = [f"{column.name}={column.categories[code]}" for code in chosen]
    others = [f"rarer {column.name}", f"unseen {column.name}", f"{column.name} missing"]
    return GroupedColumn(column.name, (*names, *others), None, tuple(sorted(codes.items())))
