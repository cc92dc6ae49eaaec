"""Rows of a window beside the reference's, for detectors that counts are not enough for.

The reference keeps rows where the monitor says so (``detectors.kept_rows``); of a window the rows are read where they
are stored, chosen by a hash of each row's key. So the same rows are found whatever the order they came in, and a row
that was erased is no more among them.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.counts.vectors import vector_names, vectors
from detectors.evaluating.table_catalogue import needs_rows
from detectors.statistics.table_sample import TableSample
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor
from driftline.results import WindowKey

#: Rows of a window, or None where there are none to be had.
TableOfWindow = Callable[[WindowKey], TableSample | None]


class RowStore(Protocol):
    """Where the rows of windows are."""

    def window_rows(self, key: WindowKey, limit: int) -> ColumnBatch:
        """At most ``limit`` rows of the window with their input columns, by chance that follows from each row's key."""
        ...


def no_table(_key: WindowKey) -> None:
    """There are counts only."""


def stored_tables(monitor: Monitor, reference: Reference | None, store: RowStore) -> TableOfWindow:
    """Tables of windows whose rows a store keeps."""
    if reference is None or not needs_rows(monitor.detectors.multivariate):
        return no_table

    def table(key: WindowKey) -> TableSample | None:
        if key.segment not in reference.rows:
            return None
        rows = store.window_rows(key, monitor.detectors.kept_rows)
        return beside(monitor, reference, key.segment, vectors(reference.row_columns(monitor), rows))

    return table


def beside(monitor: Monitor, reference: Reference, segment: str, rows: NDArray[np.float64]) -> TableSample:
    """A window's rows, vectors of ``reference.row_columns``, beside the reference's."""
    columns = reference.row_columns(monitor)
    context = vector_names([column for column in columns if column.name in monitor.segments])
    return TableSample(vector_names(columns), reference.rows[segment], rows, context=context)
