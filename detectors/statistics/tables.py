"""Tables of counts that the chi-square approximation holds for, and exact tests for the cells it does not hold for.

A cell is *dense* when the smaller sample expects at least five rows in it. Known cells that are sparse are pooled into
one; unseen, missing and infinite stay apart, because they mean something of their own. Dense cells go into a
chi-square-like statistic; each sparse cell left over gets an exact test (binomial, given how many rows of both samples
fall into it). The smallest p-value counts, times the number of tests (Bonferroni), so rare cells can neither raise
false alarms nor hide: one unseen value in a million rows proves nothing, thirty in a hundred do.

The five rows: W. G. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10, 1954.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.columns import Columns, References
from detectors.statistics.worked_out import worked_out

MINIMUM_EXPECTED = 5.0
#: Groups of finite values, of about equal reference mass, that the frequency statistics look at.
GROUPS = 10
# Bins of a numeric column beside the finite ones, before its end: infinity, missing. Minus infinity is the first.
_LAST_SPECIAL = 2


@dataclass(frozen=True, slots=True)
class Tables:
    """A table per column; shape (columns, cells) unless said.

    ``reference``, ``current``: rows per cell, 0 in cells that are not used. ``dense``, ``sparse``: which cells are.
    ``reference_rows``, ``current_rows``: the sizes of the whole samples, shape (columns,).
    """

    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    dense: NDArray[np.bool_]
    sparse: NDArray[np.bool_]
    reference_rows: NDArray[np.int64]
    current_rows: NDArray[np.int64]
    #: Dense cells of each column, shape (columns,).
    cells: NDArray[np.intp] = field(init=False)
    _rarest: tuple[NDArray[np.float64], NDArray[np.intp]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", self.dense.sum(axis=1))
        object.__setattr__(self, "_rarest", self._sparse_tests())

    @property
    def scale(self) -> NDArray[np.float64]:
        """``1 / n + 1 / m``: what divergences of two samples of one distribution shrink with, shape (columns,)."""
        return 1.0 / self.reference_rows + 1.0 / self.current_rows

    @property
    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All used cells as shares above zero that sum to one, half a row being added to each (Jeffreys' prior).

        Cells that are not used are one on both sides, which adds nothing to what shares differ by.
        """
        return self._shares(self.dense | self.sparse)

    @property
    def dense_shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same of the dense cells alone: what a chi-square law holds for."""
        return self._shares(self.dense)

    def p_values(self, chi_squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of ``chi_squares``, statistics of the dense cells, together with the sparse cells' exact tests."""
        tested = self.cells > 1
        law = special.chdtrc(np.maximum(self.cells - 1, 1), np.maximum(chi_squares, 0.0))
        smallest, sparse = self._rarest
        found: NDArray[np.float64] = np.minimum(np.where(tested, law, 1.0), smallest) * np.maximum(tested + sparse, 1)
        return np.minimum(1.0, found)

    def _shares(self, used: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # A column without any used cell divides nothing by one.
        halves = used * 0.5
        before, now = self.reference * used + halves, self.current * used + halves
        before /= np.maximum(before.sum(axis=1, keepdims=True), 0.5)
        now /= np.maximum(now.sum(axis=1, keepdims=True), 0.5)
        return before + ~used, now + ~used

    def _sparse_tests(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """The smallest p-value of each column's sparse cells, 1 without any, and how many there are."""
        smallest = np.ones(len(self.dense))
        column, cell = np.nonzero(self.sparse)
        if len(column):
            hits, share = self.current[column, cell], self.current_rows / (self.reference_rows + self.current_rows)
            found = binomial_p_values(hits, hits + self.reference[column, cell], share[column])
            np.minimum.at(smallest, column, found)
        return smallest, np.bincount(column, minlength=len(self.dense))


def tables(columns: Columns) -> Tables:
    """The columns as tables: categories, or groups of finite values, and the special cells."""
    return worked_out(columns.known, "tables", lambda: _tables(columns))


def _tables(columns: Columns) -> Tables:
    before = columns.before
    known, apart = worked_out(before.known, "tables", lambda: _cells(before, before.counts, before.below))
    known_now, apart_now = _cells(before, columns.current, columns.below)
    share = (np.minimum(before.rows, columns.rows) / (before.rows + columns.rows))[:, None]
    is_dense = (known + known_now) * share >= MINIMUM_EXPECTED
    pooled, pooled_now = ((counts * ~is_dense).sum(axis=1) for counts in (known, known_now))
    apart, apart_now = np.column_stack((apart, pooled)), np.column_stack((apart_now, pooled_now))
    expected = (apart + apart_now) * share
    return Tables(
        reference=np.hstack((known * is_dense, apart)),
        current=np.hstack((known_now * is_dense, apart_now)),
        dense=np.hstack((is_dense, expected >= MINIMUM_EXPECTED)),
        sparse=np.hstack((np.zeros_like(is_dense), (expected > 0) & (expected < MINIMUM_EXPECTED))),
        reference_rows=before.rows,
        current_rows=columns.rows,
    )


def _cells(
    before: References, counts: NDArray[np.int64], below: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Known cells and special ones, shape (columns, cells) each."""
    if before.kind == "categorical":
        known = np.arange(counts.shape[1]) < before.bins[:, None] - CATEGORICAL_EXTRA
        return counts * known, np.take_along_axis(counts, before.bins[:, None] - np.array([2, 1]), axis=1)
    return np.diff(np.take_along_axis(below, _group_ends(before), axis=1)), special_counts(before, counts)


def special_counts(before: References, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows at minus infinity, at infinity and missing of numeric columns, shape (columns, 3)."""
    last = np.take_along_axis(counts, before.bins[:, None] - np.array([2, 1]), axis=1)
    return np.column_stack((counts[:, 0], last))


def _group_ends(before: References) -> NDArray[np.intp]:
    """The bin before each group of finite values, and the last finite bin as often as rows have fewer groups."""
    return worked_out(before.known, "groups", lambda: _ends(before))


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
    hits: NDArray[np.int64], trials: NDArray[np.int64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Two-sided p-values of ``hits`` among ``trials`` where each hits with probability ``share``: twice the tail.

    >>> binomial_p_values(np.array([5, 0]), np.array([5, 0]), np.array([0.5, 0.5])).round(4).tolist()
    [0.0625, 1.0]
    """
    misses = trials - hits
    # SciPy's binomial tails take at most 2**31 trials; the beta function that they are made of takes any.
    above = np.where(hits > 0, special.betainc(np.maximum(hits, 1), misses + 1, share), 1.0)
    below = np.where(misses > 0, special.betainc(np.maximum(misses, 1), hits + 1, 1.0 - share), 1.0)
    return np.minimum(1.0, 2.0 * np.minimum(above, below))


def with_special(columns: Columns, p_values: NDArray[np.float64], tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """P-values of the finite values of numeric columns, where ``tested``, together with exact tests of the others.

    Those are the shares at minus infinity, at infinity and missing, where rows have them. The smallest p-value of a
    column counts, times their number; 1 where there are none. Shape (columns,) each.
    """
    before = columns.before
    now = special_counts(before, columns.current)
    both = now + special_counts(before, before.counts)
    smallest = np.where(tested, p_values, 1.0)
    if both.any():
        share = (columns.rows / (before.rows + columns.rows))[:, None]
        smallest = np.minimum(smallest, binomial_p_values(now, both, share).min(axis=1))
    found: NDArray[np.float64] = smallest * np.maximum(tested + (both > 0).sum(axis=1), 1)
    return np.minimum(1.0, found)
