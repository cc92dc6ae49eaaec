"""Outlier score of a row: how few random cuts it takes to part it from other rows (isolation forest).

Each tree cuts 256 reference rows at random places of random columns until rows are alone, or eight cuts deep. A row
that is alone early is odd. The score is ``2 ** -(mean depth / expected depth)``: about one half for usual rows, towards
1 for odd ones. A missing value counts as the column's median. Finds rows that are odd in few of many columns, and in
the middle of a ring, where distances from the mean say nothing.

All trees are kept as complete ones, side by side: a row, or many, go down all trees in eight steps of whole arrays.

Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation forest, 2008.

>>> rng = np.random.default_rng(0)
>>> found = fit_isolation_forest(rng.normal(size=(1000, 2)), rng).scores(np.array([[0.0, 0.0], [6.0, 6.0]]))
>>> bool(found[0] < 0.5 < 0.7 < found[1])
True
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.outliers.model import Entry

TREES = 100
SAMPLE = 256
DEPTH = 8
# Rows that go down all trees together: their places stay in the second-level cache.
_PIECE = 128
_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class IsolationForest:
    """Per tree and node the ``column`` and the ``cut``, shape (trees, nodes); ``depth`` at each end, (trees, ends).

    ``median``: of each column. ``expected``: the depth that a usual row has.
    """

    median: NDArray[np.float64]
    column: NDArray[np.intp]
    cut: NDArray[np.float64]
    depth: NDArray[np.float64]
    expected: float

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`detectors.outliers.model.Scorer`."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), _PIECE):
            piece = rows[start : start + _PIECE]
            found[start : start + _PIECE] = self._scores(np.where(np.isnan(piece), self.median, piece))
        return found

    def _scores(self, filled: NDArray[np.float64]) -> NDArray[np.float64]:
        trees, nodes = self.column.shape
        first = np.arange(trees) * nodes
        columns, cuts = self.column.ravel(), self.cut.ravel()
        flat, starts = filled.ravel(), (np.arange(len(filled)) * filled.shape[1])[:, None]
        at = np.zeros((len(filled), trees), dtype=np.intp)
        for _ in range(DEPTH):
            here = at + first
            at = 2 * at + 1 + (flat[starts + columns[here]] >= cuts[here])
        ends = at - nodes + np.arange(trees) * self.depth.shape[1]
        scores: NDArray[np.float64] = np.exp2(-self.depth.ravel()[ends].mean(axis=1) / self.expected)
        return scores

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See :class:`detectors.outliers.model.Scorer`."""
        return {
            "median": self.median,
            "column": self.column,
            "cut": self.cut,
            "depth": self.depth,
            "expected": np.array(self.expected),
        }


def fit_isolation_forest(rows: NDArray[np.float64], rng: np.random.Generator) -> IsolationForest:
    """See :class:`detectors.outliers.model.Fitter`."""
    median = np.nanmedian(rows, axis=0)
    filled = np.where(np.isnan(rows), median, rows)
    size, nodes = min(SAMPLE, len(rows)), 2**DEPTH - 1
    column = np.zeros((TREES, nodes), dtype=np.intp)
    # Below a row that is alone all ways lead to its depth.
    cut = np.full((TREES, nodes), np.inf)
    depth = np.zeros((TREES, nodes + 1))
    sample = np.concatenate([filled[rng.choice(len(filled), size, replace=False)] for _ in range(TREES)])
    tree, place = np.repeat(np.arange(TREES), size), np.zeros(TREES * size, dtype=np.intp)
    for level in range(DEPTH + 1):
        # All nodes of this level of all trees at once: their rows stand together, ``starts`` says where each begins.
        order = np.lexsort((place, tree))
        sample, tree, place = sample[order], tree[order], place[order]
        starts = np.flatnonzero(np.concatenate(([True], (np.diff(tree) != 0) | (np.diff(place) != 0))))
        counts = np.diff(starts, append=len(tree))
        low, high = np.minimum.reduceat(sample, starts), np.maximum.reduceat(sample, starts)
        cuttable = (high > low) & (level < DEPTH)
        chosen = np.argmax(np.where(cuttable, rng.random(cuttable.shape), -1.0), axis=1)
        at, groups = place[starts], np.arange(len(starts))
        goes_on: NDArray[np.bool_] = np.asarray(cuttable.any(axis=1))
        for alone in np.flatnonzero(~goes_on).tolist():
            ends = slice(int(at[alone]) << (DEPTH - level), (int(at[alone]) + 1) << (DEPTH - level))
            depth[tree[starts[alone]], ends] = level + average_depth(int(counts[alone]))
        below, above = low[groups, chosen], high[groups, chosen]
        share = 1.0 - rng.random(len(starts))
        # Above the smallest value, so that either side keeps a row.
        cuts = np.maximum(below * (1.0 - share) + above * share, np.nextafter(below, np.inf))
        node = 2**level - 1 + at[goes_on]
        column[tree[starts[goes_on]], node], cut[tree[starts[goes_on]], node] = chosen[goes_on], cuts[goes_on]
        group = np.repeat(groups, counts)
        right = sample[np.arange(len(sample)), chosen[group]] >= cuts[group]
        kept = goes_on[group]
        sample, tree, place = sample[kept], tree[kept], (2 * place + right)[kept]
        if len(sample) == 0:
            break
    return IsolationForest(median, column, cut, depth, max(average_depth(size), 1e-9))


def average_depth(rows: int) -> float:
    """How deep a search in a random binary tree of so many rows goes that finds nothing.

    >>> average_depth(1), average_depth(2), round(average_depth(256), 3)
    (0.0, 1.0, 10.245)
    """
    if rows <= 1:
        return 0.0
    if rows == 2:
        return 1.0
    return 2.0 * (math.log(rows - 1) + _EULER) - 2.0 * (rows - 1) / rows


def _restore(arrays: Mapping[str, NDArray[Any]]) -> IsolationForest:
    column = arrays["column"].astype(np.intp)
    return IsolationForest(arrays["median"], column, arrays["cut"], arrays["depth"], float(arrays["expected"]))


ENTRY = Entry("isolation_forest", fit_isolation_forest, _restore)
