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
    told = [f"{cut:.6g}" for cut in cuts]
    names = [f"{column.name} below {told[0]}"] if told else [f"{column.name} present"]
    names += [f"{column.name} from {low} to {high}" for low, high in pairwise(told)]
    names += [f"{column.name} from {told[-1]}"] if told else []
    return GroupedColumn(column.name, (*names, f"{column.name} missing"), cuts)


def _categories(column: ColumnLayout, counts: NDArray[np.int64]) -> GroupedColumn:
    known = len(counts) - CATEGORICAL_EXTRA
    ranked = sorted(range(known), key=lambda code: (-int(counts[code]), code))
    chosen = sorted(ranked[:NAMED])
    codes = {column.categories[code]: group for group, code in enumerate(chosen)}
    codes |= {column.categories[code]: len(chosen) for code in ranked[NAMED:]}
    names = [f"{column.name}={column.categories[code]}" for code in chosen]
    others = [f"rarer {column.name}", f"unseen {column.name}", f"{column.name} missing"]
    return GroupedColumn(column.name, (*names, *others), None, tuple(sorted(codes.items())))
