"""What tests ask of the counts of several columns, in one pass each: in C where the build has it, else in NumPy.

Both give the same numbers to the last digit. NumPy needs up to a dozen passes for one of these, each of which costs
more than the few hundred numbers that it reads.
"""

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftline.native import native_module

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
Flags = NDArray[np.bool_]


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

    def tabulate(
        self,
        known: Counts,
        known_now: Counts,
        apart: Counts,
        apart_now: Counts,
        share: Shares,
        minimum_expected: float,
        reference: Shares,
        current: Shares,
        dense: NDArray[np.uint8],
        sparse: NDArray[np.uint8],
    ) -> None:
        """As :func:`tabulated`."""
        ...

    def weigh(self, counts: Shares, used: NDArray[np.uint8], shares: Shares) -> None:
        """As :func:`weighed`."""
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


def tabulated(
    known: tuple[Counts, Counts],
    apart: tuple[Counts, Counts],
    share: Shares,
    minimum_expected: float,
    compiled: Kernel | None = _KERNEL,
) -> tuple[Shares, Flags, Flags]:
    """The tables of the reference and of a window: known cells, those apart, and the sparse known ones pooled.

    Rows as floating numbers, which tests go on with, shape (2, columns, cells). Beside them which cells are dense, and
    which are sparse. ``known``, ``apart``: of both sides, shape (columns, cells) each. ``share``: the smaller side's
    share of all rows, shape (columns,). A cell is dense where that side expects ``minimum_expected`` rows.
    """
    columns, cells = known[0].shape
    shape = columns, cells + apart[0].shape[1] + 1
    tables = np.empty((2, *shape))
    if compiled is not None:
        flags = np.empty((2, *shape), dtype=np.bool_)
        compiled.tabulate(*known, *apart, share, minimum_expected, *tables, *flags.view(np.uint8))
        return tables, flags[0], flags[1]
    for side, counts, others in zip(tables, known, apart, strict=True):
        side[:, :cells], side[:, cells:-1] = counts, others
    tables[:, :, -1] = 0.0
    expected = tables[0] + tables[1]
    expected *= share[:, None]
    is_dense = expected >= minimum_expected
    is_sparse = (expected > 0.0) ^ is_dense
    of_known = is_sparse[:, :cells]
    if of_known.any():
        pooled = np.where(of_known, tables[:, :, :cells], 0.0)
        tables[:, :, :cells] -= pooled
        of_known[:] = False
        tables[:, :, -1] = together = pooled.sum(axis=2)
        expected_together = (together[0] + together[1]) * share
        is_dense[:, -1] = expected_together >= minimum_expected
        is_sparse[:, -1] = (expected_together > 0.0) ^ is_dense[:, -1]
    return tables, is_dense, is_sparse


def weighed(tables: Shares, used: Flags, compiled: Kernel | None = _KERNEL) -> Shares:
    """Shares of the ``used`` cells, above zero, half a row added to each; the others are one. Shape as ``tables``.

    ``tables``: of both sides, shape (2, columns, cells); ``used``: of either, shape (columns, cells).

    >>> weighed(np.array([[[1.0, 2.0, 9.0]]] * 2), np.array([[True, True, False]]))[0].tolist()
    [[0.375, 0.625, 1.0]]
    """
    if compiled is not None:
        shares = np.empty(tables.shape)
        for counts, found in zip(tables, shares, strict=True):
            compiled.weigh(counts, used.view(np.uint8), found)
        return shares
    weights = used.astype(np.float64)  # NumPy multiplies numbers of one type three times as fast
    shares = tables + 0.5
    shares *= weights
    # A column without any used cell divides nothing by one.
    shares /= np.maximum(shares.sum(axis=-1, keepdims=True), 0.5)
    shares += 1.0 - weights
    return shares


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
