"""Some rows of many, chosen by chance that does not depend on how the rows came.

A row's number, mixed, is its rank; the rows of the smallest ranks are kept. So memory is bounded, and pieces of any
size keep the same rows. Rows of traffic are chosen in the same way, where they are stored.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import ColumnLayout
from detectors.counts.vectors import vector_names, vectors
from driftline.columns import ColumnBatch


@dataclass(slots=True)
class RowSamples:
    """Keeps at most ``limit`` rows of each key (a window, a segment), as vectors of ``columns``."""

    columns: Sequence[ColumnLayout]
    limit: int
    _kept: dict[Hashable, tuple[NDArray[np.uint64], NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, key: Hashable, rows: ColumnBatch, numbers: NDArray[np.intp]) -> None:
        """Count in rows of a key; ``numbers``: each row's own, whatever key it is of."""
        ranks = mixed(numbers)
        if len(ranks) > self.limit:
            chosen = np.argpartition(ranks, self.limit)[: self.limit]
            ranks, rows = ranks[chosen], rows.take(chosen)
        found = vectors(self.columns, rows)
        if key in self._kept:
            ranks = np.concatenate((self._kept[key][0], ranks))
            found = np.concatenate((self._kept[key][1], found))
        order = np.argsort(ranks)[: self.limit]
        self._kept[key] = ranks[order], found[order]

    def rows(self, *keys: Hashable) -> NDArray[np.float64]:
        """The rows kept of a key, or of several together, in the order of their ranks."""
        kept = [self._kept[key] for key in keys if key in self._kept]
        if not kept:
            return np.empty((0, len(vector_names(self.columns))))
        ranks, rows = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        found: NDArray[np.float64] = rows[np.argsort(ranks)[: self.limit]]
        return found


def mixed(numbers: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Numbers, each to one of its own that looks like chance (the finaliser of splitmix64, S. Vigna).

    >>> [hex(int(each)) for each in mixed(np.array([1, 2]))]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
