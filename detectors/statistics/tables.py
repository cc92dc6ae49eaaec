"""Tables of counts that the chi-square approximation holds for, and exact tests for the cells it does not hold for.

A cell is *dense* when the smaller sample expects at least five rows in it. Known cells that are sparse are pooled into
one; unseen, missing and infinite stay apart, because they mean something of their own. Dense cells go into a
chi-square-like statistic; each sparse cell left over gets an exact test (binomial, given how many rows of both samples
fall into it). The smallest p-value counts, times the number of tests (Bonferroni), so rare cells can neither raise
false alarms nor hide: one unseen value in a million rows proves nothing, thirty in a hundred do.

The five rows: W. G. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10, 1954.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.columns import Columns, References
from detectors.statistics.count_passes import (
    Cells,
    Kernel,
    Tabulated,
    kernel,
    smallest_of,
    smallest_tails,
    tabulated,
    weighed,
)
from detectors.statistics.worked_out import worked_out

MINIMUM_EXPECTED = 5.0
# So few tests take longer together than one by one.
_FEW = 4
_KERNEL = kernel()
#: Groups of finite values, of about equal reference mass, that the frequency statistics look at.
GROUPS = 10
# Bins of a numeric column beside the finite ones, before its end: infinity, missing. Minus infinity is the first.
_LAST_SPECIAL = 2
#: What two samples' shares, of shape (columns, cells) each, differ by, shape (columns,).
Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Tables:
    """A table per column, ``counted``, and what is in them, ``columns``."""

    counted: Tabulated
    columns: Columns
    _rarest: "Rarest | None" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rarest", rarest_of(self.counted, self.columns) if self.counted.all_sparse else None)

    @property
    def freedom(self) -> NDArray[np.int64]:
        """The degrees of freedom that the dense cells leave, at least 1, shape (columns,)."""
        return self.counted.freedom

    @property
    def of_dense(self) -> NDArray[np.float64]:
        """Rows of the dense cells alone, 0 in others; shape (2, columns, cells)."""
        return np.where(self.counted.dense, self.counted.rows, 0.0)

    @property
    def scale(self) -> NDArray[np.float64]:
        """What divergences of two samples of one distribution shrink with, shape (columns,)."""
        return self.columns.scale

    def compared(self, measure: Measure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What ``measure`` makes of all used cells, and of the dense ones alone, which a chi-square law holds for.

        It is given shares above zero that sum to one, half a row being added to each cell (Jeffreys' prior). Cells that
        are not used are one on both sides, which adds nothing to what shares differ by.
        """
        counted = self.counted
        if self._rarest is None:
            found = measure(*weighed(counted.rows, counted.dense, counted.sparse))
            return found, found
        # Columns with sparse cells stand once more at the end, with all of their used cells.
        more = self._rarest.columns
        found = measure(*weighed(counted.rows, counted.dense, counted.sparse, more))
        of_dense = found[: len(counted.cells)]
        of_all = of_dense.copy()
        of_all[more] = found[len(counted.cells) :]
        return of_all, of_dense

    def p_values(self, chi_squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of ``chi_squares``, statistics of the dense cells, together with the sparse cells' exact tests."""
        law = special.chdtrc(self.freedom, np.maximum(chi_squares, 0.0))
        return with_rarest(law, self.counted.cells > 1, self._rarest)


def tables(columns: Columns) -> Tables:
    """The columns as tables: categories, or groups of finite values, and the special cells."""
    return worked_out(columns.known, "tables", lambda: _tables(columns))


def _tables(columns: Columns) -> Tables:
    before = columns.before
    cells = worked_out(before.known, "cells", lambda: _cells(before))
    return Tables(tabulated(cells, columns.current, columns.below, columns.rows, MINIMUM_EXPECTED), columns)


def _cells(before: References) -> Cells:
    """Categories, or groups of finite values, and the special cells apart."""
    apart, special_places = special_before(before), _special_places(before)
    if before.kind == "categorical":
        known_bins = before.bins - CATEGORICAL_EXTRA
        known = np.where(np.arange(before.counts.shape[1]) < known_bins[:, None], before.counts, 0)
        ends = np.empty((len(known), 0), dtype=np.intp)
    else:
        ends = _flat(before, _ends(before))
        known, known_bins = np.diff(before.below.take(ends)), np.zeros(len(ends), dtype=np.intp)
    return Cells(np.ascontiguousarray(known), apart, special_places, ends, known_bins, before.rows)


def special_before(before: References) -> NDArray[np.int64]:
    """:func:`special_now` of the reference's rows."""
    return worked_out(before.known, "special", lambda: before.counts.take(_special_places(before)))


def special_now(columns: Columns) -> NDArray[np.int64]:
    """A window's rows at minus infinity, at infinity and missing of numeric columns; unseen and missing categories.

    Shape (columns, 3) or (columns, 2).
    """
    return worked_out(columns.known, "special", lambda: columns.current.take(_special_places(columns.before)))


def _special_places(before: References) -> NDArray[np.intp]:
    return worked_out(before.known, "special places", lambda: _flat(before, _special(before)))


def _special(before: References) -> NDArray[np.intp]:
    last = before.bins[:, None] - np.array([2, 1])
    return last if before.kind == "categorical" else np.column_stack((np.zeros(len(last), dtype=np.intp), last))


def _flat(before: References, bins: NDArray[np.intp]) -> NDArray[np.intp]:
    """Bins of each column, shape (columns, any), as places in the whole matrix."""
    columns, width = before.counts.shape
    places: NDArray[np.intp] = bins + np.arange(columns)[:, None] * width
    return places


def _ends(before: References) -> NDArray[np.intp]:
    starts = [
        group_starts(sample.reference[1:-2], GROUPS) if sample.groups is None else sample.groups
        for sample in before.samples
    ]
    ends = np.repeat(before.bins[:, None] - 1 - _LAST_SPECIAL, max(map(len, starts)) + 1, axis=1)
    for row, start in zip(ends, starts, strict=True):
        row[: len(start)] = start
    return ends


def group_starts(reference: NDArray[np.int64], groups: int) -> NDArray[np.intp]:
    """Where to begin each of at most ``groups`` groups of neighbouring bins with about equal reference mass."""
    total = max(int(reference.sum()), 1)
    middles = np.cumsum(reference) - reference * 0.5
    group = (middles * (groups / total)).astype(np.intp)
    return np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))


def binomial_p_values(
    hits: NDArray[np.float64], trials: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Two-sided p-values of ``hits`` among ``trials`` where each hits with probability ``share``: twice the tail.

    >>> binomial_p_values(np.array([5.0, 0.0]), np.array([5.0, 0.0]), np.array([0.5, 0.5])).round(4).tolist()
    [0.0625, 1.0]
    """
    if len(hits) <= _FEW:
        each = zip(hits.tolist(), trials.tolist(), share.tolist(), strict=True)
        return np.array([binomial_p_value(*one) for one in each])
    # A binomial's median lies between the whole numbers next to its mean, so that the other tail is half or more.
    is_above, missed = hits >= trials * share, trials - hits
    inside, outside = np.where(is_above, hits, missed), np.where(is_above, missed, hits)
    # SciPy's binomial tails take at most 2**31 trials; the beta function that they are made of takes any.
    tails = special.betainc(np.maximum(inside, 1.0), outside + 1.0, np.where(is_above, share, 1.0 - share))
    tails[inside == 0.0] = 1.0
    found: NDArray[np.float64] = np.minimum(1.0, 2.0 * tails)
    return found


def binomial_p_value(hits: float, trials: float, share: float) -> float:
    """The same of one, without a dozen calls of NumPy.

    >>> round(binomial_p_value(5, 5, 0.5), 4), binomial_p_value(0, 5, 0.01)
    (0.0625, 1.0)
    """
    is_above = hits >= trials * share
    inside, outside = (hits, trials - hits) if is_above else (trials - hits, hits)
    if inside == 0:
        return 1.0
    tail = special.betainc(float(inside), outside + 1.0, share if is_above else 1.0 - share)
    return min(1.0, 2.0 * float(tail))


@dataclass(frozen=True, slots=True)
class Rarest:
    """Exact tests of rare cells: each column's smallest p-value, 1 without any, and of how many; shape (columns,).

    ``columns``: those that have any, ascending.
    """

    smallest: NDArray[np.float64]
    cells: NDArray[np.intp]
    columns: NDArray[np.intp]


def rarest(columns: Columns, rows: Iterable[NDArray[Any]], cells: NDArray[np.bool_]) -> Rarest | None:
    """The ``cells`` tested one by one; None where there are none, as in most windows.

    ``rows``: of the reference and of the window in each cell, shape (columns, any), as ``cells``.
    """
    places = np.flatnonzero(cells)
    if not len(places):
        return None
    column, (before, now) = places // cells.shape[1], (side.take(places).astype(np.float64) for side in rows)
    size_before, size = columns.before.rows.take(column), columns.rows.take(column)
    smallest = np.ones(len(cells))
    np.minimum.at(smallest, column, binomial_p_values(now, now + before, size / (size_before + size)))
    each = np.bincount(column, minlength=len(cells))
    return Rarest(smallest, each, np.flatnonzero(each))


def rarest_of(counted: Tabulated, columns: Columns, compiled: Kernel | None = _KERNEL) -> Rarest | None:
    """The same of the sparse cells of tables that have some."""
    if compiled is None:
        return rarest(columns, counted.rows, counted.sparse)
    return Rarest(*smallest_tails(counted, (columns.before.rows, columns.rows), compiled))


def with_rarest(p_values: NDArray[np.float64], tested: NDArray[np.bool_], rare: Rarest | None) -> NDArray[np.float64]:
    """Exact tests together with one more test of each column, where ``tested``.

    The smallest p-value of a column counts, times their number; 1 where there are none.
    """
    if rare is None:
        return np.where(tested, p_values, 1.0)
    return smallest_of(p_values, tested, rare.smallest, rare.cells)


def with_special(columns: Columns, p_values: NDArray[np.float64], tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """P-values of the finite values of numeric columns, where ``tested``, together with exact tests of the others.

    Those are the shares at minus infinity, at infinity and missing, where rows have them; as :func:`with_rarest`.
    Shape (columns,) each.
    """
    rows = special_before(columns.before), special_now(columns)
    return with_rarest(p_values, tested, rarest(columns, rows, rows[0] + rows[1] > 0))
