"""Rows of both samples as vectors of comparable numbers, one under the other.

All that is taken from the rows (centre, spread) is taken from both samples together, so that it is the same whichever
row belongs to which: a permutation test of what follows keeps to its rate exactly.

>>> rows = prepare(TableSample(("x",), np.array([[1.0], [3.0]]), np.array([[np.nan], [5.0]])), np.random.default_rng(0))
>>> rows.values.round(2).tolist()
[[-1.35, 0.0], [0.0, 0.0], [1.35, 0.0], [0.0, 1.0]]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.comparable_rows import comparable
from detectors.statistics.table_sample import TableSample

#: Of each sample at most so many rows are looked at, chosen by chance, where nobody asks for another number.
MAXIMUM_ROWS = 2500
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """``values``: the ``n`` rows of the reference, then the window's, shape (rows, places).

    ``columns``: which column of the sample each place tells of. ``along``: where rows stand along the directions that
    hang together more than the rest, shape (rows, directions).
    """

    values: NDArray[np.float64]
    n: int
    columns: NDArray[np.intp]
    along: NDArray[np.float64]

    @property
    def m(self) -> int:
        """Rows of the window."""
        return len(self.values) - self.n


def prepare(sample: TableSample, rng: np.random.Generator, limit: int = MAXIMUM_ROWS) -> Prepared | None:
    """At most ``limit`` rows of either side; None where a side has fewer than two, or no column differs anywhere."""
    if min(sample.reference_rows, sample.current_rows) < _FEWEST:
        return None
    before, now = (_some(in_order(rows), rng, limit) for rows in (sample.reference, sample.current))
    rows = np.concatenate((before, now)).astype(np.float64)
    values, columns = comparable(rows, embedding=sample.embedding)
    return Prepared(values, len(before), columns, sample.directions.along(rows)) if len(columns) else None


def in_order(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows in an order that depends on their values alone, so that nothing that follows depends on any other.

    >>> in_order(np.array([[2.0, np.nan], [1.0, 5.0], [2.0, -1.0]])).tolist()
    [[1.0, 5.0], [2.0, -1.0], [2.0, nan]]
    """
    tidy = np.ascontiguousarray(rows, dtype=np.float64) + 0.0  # one zero
    tidy[np.isnan(tidy)] = np.nan  # one NaN
    if not tidy.shape[1]:
        return tidy
    # Whole numbers that compare as the floats do, and these as bytes, the largest first.
    bits = tidy.view(np.int64)
    ranks = np.where(bits < 0, ~bits, bits | np.int64(-(2**63))).astype(">i8")
    return tidy[np.argsort(ranks.view(np.dtype((np.void, 8 * tidy.shape[1])))[:, 0], kind="stable")]


def _some(rows: NDArray[np.float64], rng: np.random.Generator, limit: int) -> NDArray[np.float64]:
    if len(rows) <= limit:
        return rows
    return rows[np.sort(rng.choice(len(rows), limit, replace=False))]
