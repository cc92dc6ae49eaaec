"""Counting values on fixed bins: the only place where rows become numbers of rows.

Numeric bins, in order: minus infinity, the finite bins between the cuts, plus infinity, missing. A value equal to a cut
belongs to the bin above it. Categorical bins: one per known category, then unseen, then missing.

>>> count_numbers(np.array([1.0, 2.0, 5.0, np.nan, np.inf]), full_edges(np.array([2.0]))).tolist()
[0, 1, 2, 1, 1]
>>> place(tally(["a", "b", None, "zebra"]), {"a": 0, "b": 1})
[1, 1, 1, 1]
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.counts.cells import Cells, count_in_cells, kernel
from driftline.categories import category_of_float

#: What counts in C, where it was built.
KERNEL = kernel()
#: Categorical bins beside the known ones: unseen, missing.
CATEGORICAL_EXTRA = 2

# Sorting a block and searching the edges in it costs a few nanoseconds a value; searching every value among the edges
# costs ten times that. Blocks of this size stay in the second-level cache.
_BLOCK_ROWS = 65_536
# Below this many values the search for all edges costs more than the search of the values.
_FEW_ROWS = 200
_LOWEST = -np.finfo(np.float64).max


def full_edges(cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower ends of all bins but the first, for ``cuts`` (ascending, finite, distinct)."""
    return np.concatenate(([_LOWEST], cuts, [np.inf, np.nan]))


def numeric_bins(edges: NDArray[np.float64]) -> int:
    """How many bins :func:`count_numbers` fills for these full edges."""
    return len(edges) + 1


def count_numbers(
    values: NDArray[np.float64], edges: NDArray[np.float64], cells: Cells | None = None
) -> NDArray[np.int64]:
    """Rows per numeric bin; ``edges`` from :func:`full_edges`. NaN counts as missing.

    ``cells``: the table of these edges, which a compiled build looks values up in.
    """
    if cells is not None and KERNEL is not None:
        return count_in_cells(KERNEL, values, cells)
    if len(values) <= _FEW_ROWS:
        return np.bincount(bin_numbers(values, edges), minlength=len(edges) + 1)
    counts = np.zeros(len(edges) + 1, dtype=np.int64)
    for start in range(0, len(values), _BLOCK_ROWS):
        block = np.sort(values[start : start + _BLOCK_ROWS])
        below = np.searchsorted(block, edges, side="left")
        counts[0] += below[0]
        counts[1:-1] += np.diff(below)
        counts[-1] += len(block) - below[-1]
    return counts


def bin_numbers(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each value, in the order of the values."""
    # The method, because a single row asks for one bin of each column, and NumPy's function costs as much again.
    return edges.searchsorted(values, side="right")


def tally(values: Sequence[object] | NDArray[Any]) -> Mapping[str | None, int]:
    """Rows per category; None, NaN and the empty text are missing and share the key None."""
    if len(values) <= _FEW_ROWS or not isinstance(values, np.ndarray):
        return merged(Counter(values))
    counts: dict[Any, int] = {}
    for start in range(0, len(values), _BLOCK_ROWS):
        # Half the time of a Counter. What is missing has the code -1.
        codes, different = pd.factorize(values[start : start + _BLOCK_ROWS])
        for value, count in zip([None, *different], np.bincount(codes + 1).tolist(), strict=False):
            if count:
                counts[value] = counts.get(value, 0) + count
    return merged(counts)


def merged(given: Mapping[Any, int]) -> Mapping[str | None, int]:
    """Rows per category, of rows per value."""
    counts: dict[str | None, int] = {}
    for value, count in given.items():
        name = category(value)
        counts[name] = counts.get(name, 0) + count
    return counts


def place(tallied: Mapping[str | None, int], codes: Mapping[str, int]) -> list[int]:
    """Tallied categories in their bins: known ones, unseen, missing."""
    unseen = len(codes)
    counts = [0] * (unseen + CATEGORICAL_EXTRA)
    for name, count in tallied.items():
        counts[unseen + 1 if name is None else codes.get(name, unseen)] += count
    return counts


def category(value: object) -> str | None:
    """The category a value stands for, spelt as decoders spell it: whole numbers without a point, true as 1; None for
    missing.

    >>> [category(value) for value in ("AA", 1.0, 2, True, 0.5, float("nan"), "")]
    ['AA', '1', '2', '1', '0.5', None, None]
    """
    if isinstance(value, str):
        return value or None
    if value is None or value != value:  # noqa: PLR0124 - only NaN and NaT differ from themselves
        return None
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    if isinstance(value, np.floating):
        value = float(str(value))  # a float32 is spelt as itself, not as the float64 nearest to it
    if isinstance(value, float):
        return category_of_float(value)
    return str(value)
