"""Rows of a window, for what counts are not enough for: beside the reference's, or beside their labels.

The reference keeps rows where the monitor says so (``detectors.kept_rows``); of a window the rows are read where they
are stored, chosen by a hash of each row's key. So the same rows are found whatever the order they came in, and a row
that was erased is no more among them. A baseline of other windows is rows of theirs, read in the same way.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.counts.layout import ROWS
from detectors.counts.vectors import vector_names, vectors
from detectors.evaluating.table_catalogue import needs_rows
from detectors.statistics.table_sample import Drawn, TableSample
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor
from driftline.results import WindowKey

#: Rows of a window beside those of the windows that its baseline is made of, or (none) the reference's; None where
#: there are none to be had.
TableOfWindow = Callable[[WindowKey, Sequence[WindowKey]], TableSample | None]


class RowStore(Protocol):
    """Where the rows of windows are."""

    def window_rows(self, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
        """At most ``limit`` rows of one segment's windows with their input columns, by chance that follows from each
        row's key; none of no windows.
        """
        ...

    def labelled_rows(self, monitor: Monitor, key: WindowKey, limit: int) -> tuple[ColumnBatch, JudgedBatch]:
        """At most ``limit`` labelled rows of the window, chosen alike: input columns, and prediction beside label."""
        ...


#: Some labelled rows of a window: columns, and row by row prediction beside label; None where there are none to be had.
LabelledRows = Callable[[WindowKey], tuple[ColumnBatch, JudgedBatch] | None]


def no_labelled_rows(_key: WindowKey) -> None:
    """There are counts only."""


def stored_labelled_rows(monitor: Monitor, store: RowStore) -> LabelledRows:
    """Labelled rows of windows whose rows a store keeps, as many as the monitor says."""
    limit = monitor.detectors.explained_rows
    return (lambda key: store.labelled_rows(monitor, key, limit)) if limit else no_labelled_rows


def no_table(_key: WindowKey, _baseline: Sequence[WindowKey]) -> None:
    """There are counts only."""


def stored_tables(monitor: Monitor, reference: Reference | None, store: RowStore) -> TableOfWindow:
    """Tables of windows whose rows a store keeps."""
    if reference is None or not needs_rows(monitor.detectors.multivariate):
        return no_table

    def rows(keys: Sequence[WindowKey]) -> NDArray[np.float64]:
        return vectors(reference.row_columns(monitor), store.window_rows(keys, monitor.detectors.kept_rows))

    def table(key: WindowKey, baseline: Sequence[WindowKey]) -> TableSample | None:
        if key.segment not in reference.rows:
            return None
        return beside(monitor, reference, key.segment, rows([key]), rows(baseline) if baseline else None)

    return table


def beside(
    monitor: Monitor,
    reference: Reference,
    segment: str,
    rows: NDArray[np.float64],
    before: NDArray[np.float64] | None,
) -> TableSample:
    """A window's rows, vectors of ``reference.row_columns``, beside its baseline's; None: the reference's are its own.

    These also remain where the baseline has too few rows, and the table says so. It says how many the file's were drawn
    from; of a baseline its counts do.
    """
    columns, drawn = reference.row_columns(monitor), Drawn(int(reference.counts[segment][ROWS]))
    context = vector_names([column for column in columns if column.name in monitor.segments])
    fewest, told = monitor.windows.minimum_rows, ""
    if before is None:
        before = reference.rows[segment]
    elif len(before) < fewest:
        told = f"the reference file, as {len(before)} rows of the baseline are kept with their columns, {fewest} needed"
        before = reference.rows[segment]
    else:
        told, drawn = f"{len(before)} rows of the baseline", Drawn()
    return TableSample(vector_names(columns), before, rows, context=context, told=told, reference_drawn=drawn)
