"""How a reference's columns are grouped, to see on which values accuracy changed: tenths, and frequent categories."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.counts.column_outcomes import GroupedColumn, OutcomeLayout, ReferenceOutcomes, count_outcomes
from detectors.counts.layout import ColumnLayout, Layout
from detectors.counts.performance_counts import PerformanceLayout
from detectors.statistics.tables import GROUPS, group_starts
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor

#: Categories with a group of their own.
NAMED = 15


def outcome_layout(
    monitor: Monitor, layout: Layout, counts: NDArray[np.int64], performance: PerformanceLayout
) -> OutcomeLayout:
    """The groups of every input that is no segment, by the reference's counts; a ranking has none."""
    if performance.task == "ranking":
        return OutcomeLayout((), performance)
    names = [column.name for column in monitor.columns if column.drift and column.name not in monitor.segments]
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
    grouped = outcome_layout(monitor, layout, counts, performance)
    return ReferenceOutcomes(grouped, count_outcomes(grouped, rows, judged)) if grouped.columns else None


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
