"""What tests ask of the counts of several columns, in one pass each: in C where the build has it, else in NumPy.

Both give the same numbers to the last digit. NumPy needs up to a dozen passes for one of these, each of which costs
more than the few hundred numbers that it reads.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import special

from driftline.native import native_module

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
Flags = NDArray[np.bool_]
_NONE: Counts = np.zeros(1, dtype=np.int64)
_NO_COLUMNS: NDArray[np.intp] = np.empty(0, dtype=np.intp)
#: Below any number of rows that is expected where there are rows at all.
_ALMOST_NONE = 1e-300


class Kernel(Protocol):
    """What ``count_kernel.pyx`` gives: arrays in, the last ones filled."""

    def cumulate(self, counts: Counts, below: Counts) -> None:
        """As :func:`cumulated`."""
        ...

    def compare(
        self,
        before: Shares,
        below: Counts,
        gaps: Shares,
        largest_before: Shares,
        largest_now: Shares,
        distances: Shares,
    ) -> None:
        """As :func:`compared`."""
        ...

    def gather(
        self, vector: Counts, at: NDArray[np.intp], bins: NDArray[np.intp], current: Counts, below: Counts
    ) -> None:
        """As :func:`gathered`."""
        ...

    def tabulate(
        self,
        known: Counts,
        apart: Counts,
        current: Counts,
        below: Counts,
        ends: NDArray[np.intp],
        known_bins: NDArray[np.intp],
        special: NDArray[np.intp],
        rows_before: Counts,
        rows: Counts,
        minimum_expected: float,
        reference: Shares,
        now: Shares,
        dense: NDArray[np.uint8],
        sparse: NDArray[np.uint8],
        dense_cells: Counts,
        freedom: Counts,
    ) -> int:
        """As :func:`tabulated`."""
        ...

    def find_rare(
        self,
        tables: Shares,
        sparse: NDArray[np.uint8],
        rows_before: Counts,
        rows: Counts,
        columns: Counts,
        asked: Shares,
    ) -> None:
        """As :func:`smallest_tails`."""
        ...

    def keep_smallest(self, columns: Counts, tails: Shares, smallest: Shares, cells: Counts) -> None:
        """As :func:`smallest_tails`."""
        ...

    def weigh(
        self, tables: Shares, used: NDArray[np.uint8], others: NDArray[np.uint8], more: NDArray[np.intp], shares: Shares
    ) -> None:
        """As :func:`weighed`."""
        ...

    def homogenise(
        self, tables: Shares, used: NDArray[np.uint8], almost_none: float, room: Shares, found: Shares
    ) -> None:
        """As :func:`homogeneities`."""
        ...

    def grow(
        self,
        before: Shares,
        counts: Counts,
        current: Counts,
        rows_before: Counts,
        rows: Counts,
        room: Shares,
        found: Shares,
    ) -> None:
        """As :func:`grown`."""
        ...

    def rank(self, areas: Shares, ordered: Counts, ends: Counts, draws: Counts, hits: Counts, chances: Shares) -> None:
        """As :func:`ranked`."""
        ...

    def smallest(
        self, p_values: Shares, tested: NDArray[np.uint8], others: Shares, cells: Counts, found: Shares
    ) -> None:
        """As :func:`smallest_of`."""
        ...

    def enclose(
        self,
        before: Shares,
        now: Shares,
        rows_before: Counts,
        rows: Counts,
        chance_squares: Shares,
        doubtful: Shares,
        z: float,
        found: Shares,
    ) -> None:
        """As :func:`enclosed`."""
        ...


def kernel() -> Kernel | None:
    """The compiled module; None where this build has none."""
    return cast("Kernel | None", native_module("detectors.statistics.count_kernel"))


_KERNEL = kernel()


def cumulated(counts: Counts, compiled: Kernel | None = _KERNEL) -> Counts:
    """Rows up to and with each bin, shape (columns, bins).

    >>> cumulated(np.array([[1, 0, 2]])).tolist()
    [[1, 1, 3]]
    """
    if compiled is None:
        # Along the first axis NumPy adds many columns at a time, which is worth turning them round for.
        return np.ascontiguousarray(np.ascontiguousarray(counts.T).cumsum(axis=0).T)
    below = np.empty(counts.shape, dtype=np.int64)
    compiled.cumulate(counts, below)
    return below


def compared(before: Shares, below: Counts, compiled: Kernel | None = _KERNEL) -> tuple[Shares, Shares, Shares, Shares]:
    """By how much shares of rows up to and with each bin differ, at least 0, shape (columns, bins).

    Beside them both shares, and the difference, at each column's first largest one, shape (columns,) each.
    ``before``: those of the reference; ``below``: a window's rows, above zero in the last bin.
    """
    if compiled is not None:
        gaps = np.empty(before.shape)
        largest_before, largest_now, distances = np.empty((3, len(before)))
        compiled.compare(before, below, gaps, largest_before, largest_now, distances)
        return gaps, largest_before, largest_now, distances
    rows = below[:, -1].astype(np.float64)
    gaps = below / rows[:, None]
    np.subtract(before, gaps, out=gaps)
    np.abs(gaps, out=gaps)
    places: NDArray[np.intp] = gaps.argmax(axis=1)
    places += np.arange(len(gaps)) * before.shape[1]
    return gaps, before.take(places), below.take(places) / rows, gaps.take(places)


def gathered(
    vector: Counts, at: NDArray[np.intp], bins: NDArray[np.intp], compiled: Kernel | None = _KERNEL
) -> tuple[Counts, Counts]:
    """Columns' bins out of a vector, in which each column's stand side by side, and rows up to and with each.

    ``at``: where, shape (columns, bins), one past the vector's end after a column's last of ``bins``.

    >>> current, below = gathered(np.array([7, 1, 2, 4]), np.array([[1, 2], [3, 4]]), np.array([2, 1]))
    >>> current.tolist(), below.tolist()
    ([[1, 2], [4, 0]], [[1, 3], [4, 4]])
    """
    if compiled is None:
        current = np.concatenate((vector, _NONE)).take(at)
        return current, cumulated(current, None)
    current, below = np.empty((2, *at.shape), dtype=np.int64)
    compiled.gather(np.ascontiguousarray(vector), at, bins, current, below)
    return current, below


@dataclass(frozen=True, slots=True)
class Cells:
    """What tables are made of that follows from the reference: its rows in ``known`` cells and those ``apart``.

    Shape (columns, cells) each. Known cells are the first ``known_bins`` of each column, whose others are empty cells;
    or, where there are ``ends``, shape (columns, cells + 1), the bins between two of them: places in the whole matrix
    of columns, as those of the cells apart, ``special``. ``rows``: all of each column.
    """

    known: Counts
    apart: Counts
    special: NDArray[np.intp]
    ends: NDArray[np.intp]
    known_bins: NDArray[np.intp]
    rows: Counts


@dataclass(frozen=True, slots=True)
class Tabulated:
    """The tables of the reference and of a window: known cells, those apart, and the sparse known ones pooled.

    ``rows``: as floating numbers, which tests go on with, shape (2, columns, cells); ``dense``, ``sparse``: which cells
    are; ``all_sparse``: how many are sparse. ``cells``: dense ones, ``freedom``: the degrees of freedom that they
    leave, at least 1; shape (columns,).
    """

    rows: Shares
    dense: Flags
    sparse: Flags
    cells: Counts
    freedom: Counts
    all_sparse: int


def tabulated(
    cells: Cells,
    current: Counts,
    below: Counts,
    rows: Counts,
    minimum_expected: float,
    compiled: Kernel | None = _KERNEL,
) -> Tabulated:
    """Tables of a window with ``rows`` in each column, ``current`` in each bin and ``below`` up to and with it.

    A cell is dense where the smaller side expects ``minimum_expected`` rows.
    """
    columns, known = cells.known.shape
    shape = columns, known + cells.apart.shape[1] + 1
    tables = np.empty((2, *shape))
    if compiled is None:
        return _tabulated(cells, current, below, rows, minimum_expected, tables)
    dense, sparse = flags = np.empty((2, *shape), dtype=np.bool_)
    counts, freedom = np.empty((2, columns), dtype=np.int64)
    of_reference = cells.known, cells.apart
    places = cells.ends, cells.known_bins, cells.special
    of_cells = *tables, *flags.view(np.uint8), counts, freedom
    all_sparse = compiled.tabulate(
        *of_reference, current, below, *places, cells.rows, rows, minimum_expected, *of_cells
    )
    return Tabulated(tables, dense, sparse, counts, freedom, all_sparse)


def _tabulated(
    cells: Cells, current: Counts, below: Counts, rows: Counts, minimum_expected: float, tables: Shares
) -> Tabulated:
    known = cells.known.shape[1]
    share = (np.minimum(cells.rows, rows) / (cells.rows + rows))[:, None]
    tables[0, :, :known], tables[0, :, known:-1] = cells.known, cells.apart
    if cells.ends.shape[1]:
        ends = below.take(cells.ends)
        np.subtract(ends[:, 1:], ends[:, :-1], out=tables[1, :, :known])
    else:
        tables[1, :, :known] = np.where(np.arange(known) < cells.known_bins[:, None], current, 0)
    tables[1, :, known:-1] = current.take(cells.special)
    tables[:, :, -1] = 0.0
    expected = tables[0] + tables[1]
    expected *= share
    dense = expected >= minimum_expected
    sparse = (expected > 0.0) ^ dense
    of_known = sparse[:, :known]
    if of_known.any():
        pooled = np.where(of_known, tables[:, :, :known], 0.0)
        tables[:, :, :known] -= pooled
        of_known[:] = False
        tables[:, :, -1] = together = pooled.sum(axis=2)
        expected_together = (together[0] + together[1]) * share[:, 0]
        dense[:, -1] = expected_together >= minimum_expected
        sparse[:, -1] = (expected_together > 0.0) ^ dense[:, -1]
    counts = dense.sum(axis=1)
    return Tabulated(tables, dense, sparse, counts, np.maximum(counts - 1, 1), int(np.count_nonzero(sparse)))


def smallest_tails(table: Tabulated, rows: tuple[Counts, Counts], compiled: Kernel) -> tuple[Shares, Counts, Counts]:
    """Exact tests of sparse cells, ``Rarest`` of ``tables.py``; ``rows``: of both sides, shape (columns,).

    Only the compiled build has it: the same needs two dozen calls of NumPy, a loop of Python where cells are few.
    """
    columns, asked = np.empty(table.all_sparse, dtype=np.int64), np.empty((3, table.all_sparse))
    compiled.find_rare(table.rows, table.sparse.view(np.uint8), *rows, columns, asked)
    smallest, cells = np.empty(len(table.cells)), np.empty(len(table.cells), dtype=np.int64)
    compiled.keep_smallest(columns, special.betainc(*asked), smallest, cells)
    return smallest, cells, cells.nonzero()[0]


def weighed(
    tables: Shares,
    used: Flags,
    sparse: Flags,
    more: NDArray[np.intp] = _NO_COLUMNS,
    compiled: Kernel | None = _KERNEL,
) -> Shares:
    """Shares of the ``used`` cells, above zero, half a row added to each; the others are one.

    ``tables``: of both sides, shape (2, columns, cells); ``used``, ``sparse``: of either, shape (columns, cells). The
    columns ``more`` stand once more behind all, with their ``sparse`` cells among the used.

    >>> one = np.array([[[1.0, 2.0, 9.0]]] * 2), np.array([[True, True, False]]), np.array([[False, False, True]])
    >>> weighed(*one)[0].tolist(), weighed(*one, np.array([0]))[0, 1].round(2).tolist()
    ([[0.375, 0.625, 1.0]], [0.11, 0.19, 0.7])
    """
    if compiled is not None:
        shares = np.empty((2, len(used) + len(more), used.shape[1]))
        compiled.weigh(tables, used.view(np.uint8), sparse.view(np.uint8), more, shares)
        return shares
    if len(more):
        tables = np.concatenate((tables, tables.take(more, axis=1)), axis=1)
        used = np.concatenate((used, (used | sparse).take(more, axis=0)))
    weights = used.astype(np.float64)  # NumPy multiplies numbers of one type three times as fast
    shares = tables + 0.5
    shares *= weights
    # A column without any used cell divides nothing by one.
    shares /= np.maximum(shares.sum(axis=-1, keepdims=True), 0.5)
    shares += 1.0 - weights
    return shares


def homogeneities(tables: Shares, used: Flags, compiled: Kernel | None = _KERNEL) -> Shares:
    """Pearson's chi-square of the ``used`` cells of two sides, shape (columns,).

    ``tables``: of both sides, shape (2, columns, cells); ``used``: of either, shape (columns, cells).
    """
    if compiled is None:
        return homogeneity(*np.where(used, tables, 0.0))
    found = np.empty(len(used))
    compiled.homogenise(tables, used.view(np.uint8), _ALMOST_NONE, np.empty(used.shape[1]), found)
    return found


def homogeneity(reference: Shares, current: Shares) -> Shares:
    """Pearson's chi-square of tables of two rows, shape (..., cells) each; cells empty in both add nothing."""
    n, m = reference.sum(axis=-1), current.sum(axis=-1)
    rows = n + m
    expected = (reference + current) * (m / np.maximum(rows, 1.0))[..., None]
    # Both rows of the table miss their expectation by the same number of rows, so one difference serves both.
    misses = current - expected
    misses *= misses
    misses /= np.maximum(expected, _ALMOST_NONE)
    statistic: Shares = misses.sum(axis=-1) * rows / np.maximum(n, 1.0)
    return statistic


def grown(
    before: Shares, counts: tuple[Counts, Counts], rows: tuple[Counts, Counts], compiled: Kernel | None = _KERNEL
) -> Shares:
    """Both shares of the rows in cells whose share grew, and by how much chance spreads all cells; shape (3, columns).

    ``before``: the reference's shares, shape (columns, cells), as both sides' ``counts``. ``rows``: of both sides,
    shape (columns,). The spread is the sum of the roots of what is in a cell times what is not, over all rows.
    """
    found = np.empty((3, len(before)))
    if compiled is not None:
        compiled.grow(before, *counts, *rows, np.empty((3, before.shape[1])), found)
        return found
    every = rows[0] + rows[1]
    now = counts[1] / rows[1][:, None]
    is_grown = now > before
    together = np.add(*counts, dtype=np.float64)
    np.where(is_grown, before, 0.0).sum(axis=1, out=found[0])
    np.where(is_grown, now, 0.0).sum(axis=1, out=found[1])
    np.divide(np.sqrt(together * (every[:, None] - together)).sum(axis=1), every, out=found[2])
    return found


def ranked(
    areas: Shares, ordered: Counts, ends: Counts, draws: Counts, compiled: Kernel | None = _KERNEL
) -> tuple[Counts, Shares]:
    """How many simulated areas are at least as large as each column's, and so how probable; NaN without any.

    ``areas``: at least 0, shape (columns,). ``ordered``: those of all columns, ``draws`` of each up to where it
    ``ends``, ascending; the bits of 32-bit floats as whole numbers, which order as they do, their column's before.
    """
    if compiled is not None:
        hits, chances = np.empty(len(areas), dtype=np.int64), np.empty(len(areas))
        compiled.rank(areas, ordered, ends, draws, hits, chances)
        return hits, chances
    hits = ends - ordered.searchsorted((np.arange(len(areas)) << 32) | areas.astype(np.float32).view(np.uint32))
    return hits, np.where(draws > 0, (hits + 1.0) / (draws + 1), np.nan)


def smallest_of(
    p_values: Shares, tested: Flags, others: Shares, cells: Counts, compiled: Kernel | None = _KERNEL
) -> Shares:
    """Each column's p-value, where ``tested``, together with the smallest of ``cells`` others: the smallest, at most 1.

    It is taken times how many it is the smallest of. Shape (columns,) each.
    """
    if compiled is not None:
        found = np.empty(len(p_values))
        compiled.smallest(p_values, tested.view(np.uint8), others, cells, found)
        return found
    smallest = np.minimum(np.where(tested, p_values, 1.0), others)
    together: Shares = np.minimum(1.0, smallest * np.maximum(tested + cells, 1))
    return together


def enclosed(
    shares: tuple[Shares, Shares],
    rows: tuple[Counts, Counts],
    chance_squares: Shares,
    doubtful: Shares,
    z: float,
    compiled: Kernel | None = _KERNEL,
) -> Shares:
    """How far two shares are apart, chance taken off, with both ends of its interval; in [0, 1], shape (3, columns).

    ``shares``, ``rows``: of the reference and of a window, shape (columns,) each, as ``chance_squares``. ``doubtful``:
    what the lower end leaves out at least, because chance may have given it. Nothing is taken off the upper end: on
    average the shares are never less apart than what they are samples of. ``z``: the normal quantile of the interval;
    the shares' errors are those of one row more and one less, as A. Agresti and B. Caffo, 2000, ask for few rows.
    """
    found = np.empty((3, len(chance_squares)))
    if compiled is not None:
        compiled.enclose(*shares, *rows, chance_squares, doubtful, z, found)
        return found
    raw = np.abs(shares[1] - shares[0])
    values = np.sqrt(np.maximum(0.0, raw * raw - chance_squares))
    first, second = ((share * trials + 1.0) / (trials + 2.0) for share, trials in zip(shares, rows, strict=True))
    squares = first * (1.0 - first) / (rows[0] + 2.0) + second * (1.0 - second) / (rows[1] + 2.0)
    halves = z * np.sqrt(np.maximum(0.0, squares))  # shares that add up to a little more than one
    found[:] = values, np.maximum(0.0, np.minimum(values, raw - doubtful) - halves), np.minimum(1.0, raw + halves)
    return found
