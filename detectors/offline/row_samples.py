"""Some rows of each window, chosen by chance that does not depend on how the rows came.

A row's number, mixed, is its rank; a window keeps the rows of the smallest ranks. So memory is bounded, and pieces of
any size keep the same rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import ColumnLayout
from detectors.counts.vectors import vector_names, vectors
from detectors.statistics.table_sample import TableSample
from driftline.columns import ColumnBatch
from driftline.results import WindowKey

#: Rows kept of each window, and of each segment of the reference.
KEPT_ROWS = 5000


@dataclass(slots=True)
class RowSamples:
    """Keeps rows by window, as vectors of ``columns``; ``context``: columns that others are compared given."""

    columns: Sequence[ColumnLayout]
    context: Sequence[str] = ()
    _kept: dict[WindowKey, tuple[NDArray[np.uint64], NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, key: WindowKey, rows: ColumnBatch, numbers: NDArray[np.intp]) -> None:
        """Count in rows of a window; ``numbers``: each row's own, whatever window it is in."""
        ranks = mixed(numbers)
        if len(ranks) > KEPT_ROWS:
            chosen = np.argpartition(ranks, KEPT_ROWS)[:KEPT_ROWS]
            ranks, rows = ranks[chosen], rows.take(chosen)
        found = vectors(self.columns, rows)
        if key in self._kept:
            ranks = np.concatenate((self._kept[key][0], ranks))
            found = np.concatenate((self._kept[key][1], found))
        order = np.argsort(ranks)[:KEPT_ROWS]
        self._kept[key] = ranks[order], found[order]

    def rows(self, key: WindowKey) -> NDArray[np.float64]:
        """The rows kept of a window, in the order of their ranks."""
        return self._kept[key][1] if key in self._kept else np.empty((0, len(vector_names(self.columns))))

    def table(self, reference: NDArray[np.float64], key: WindowKey) -> TableSample:
        """A window's rows beside ``reference``."""
        context = vector_names([column for column in self.columns if column.name in self.context])
        return TableSample(vector_names(self.columns), reference, self.rows(key), context=context)


def mixed(numbers: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Numbers, each to one of its own that looks like chance (the finaliser of splitmix64, S. Vigna).

    >>> [hex(int(each)) for each in mixed(np.array([1, 2]))]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
