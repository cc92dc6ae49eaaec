"""The frozen bins of a reference's columns: where they are cut, and what stands for each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import ColumnLayout

QUANTILE_BINS = 256
#: Columns with at most this many distinct values keep a bin for each.
DISTINCT_VALUES = 100
#: Known categories per column; rarer ones count as unseen, in the reference as in the windows.
MAXIMUM_CATEGORIES = 256
# Widths of the bins beyond the reference's range, in units of that range.
_TAIL_STEPS = np.array([0.02, 0.1, 0.25, 0.5, 1.0, 4.0, 16.0, 256.0])


def numeric_cuts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending cuts between bins, for values of which at least one is finite."""
    finite = np.sort(values[np.isfinite(values)])
    distinct = np.unique(finite)
    if len(distinct) <= DISTINCT_VALUES:
        inner = np.concatenate((distinct, np.nextafter(distinct, np.inf)))
    else:
        ends = np.array([finite[0], np.nextafter(finite[-1], np.inf)])
        inner = np.concatenate((_quantiles(finite), ends))
    low, high = finite[0], finite[-1]
    with np.errstate(over="ignore"):
        span = (high - low) or abs(high) or 1.0
        cuts = np.unique(np.concatenate((low - _TAIL_STEPS * span, inner, high + _TAIL_STEPS * span)))
    finite_cuts: NDArray[np.float64] = cuts[np.isfinite(cuts)]
    return finite_cuts


def _quantiles(finite: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cuts at the quantiles of ascending values; a value that is several quantiles has a bin of its own.

    A cut lies half-way between two values. On a value it would count that one on one side, and tests on bins would see
    moves to one side better, and to the other worse, than tests on rows do.
    """
    places = np.arange(1, QUANTILE_BINS) * len(finite) // QUANTILE_BINS
    above, first, repeats = np.unique(finite[places], return_index=True, return_counts=True)
    below = finite[places[first] - 1]
    between = below / 2 + above / 2
    cuts = np.where((repeats == 1) & (below < between), between, above)
    return np.concatenate((cuts, np.nextafter(above[repeats > 1], np.inf)))


def exact_cuts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cuts that give every distinct finite value a bin of its own, so that counts say all that rows do.

    The bin below the smallest value stays empty.
    """
    distinct: NDArray[np.float64] = np.unique(values[np.isfinite(values)])
    return distinct


def representatives(values: NDArray[np.float64], column: ColumnLayout) -> NDArray[np.float64]:
    """One value per bin: the mean of its values, its middle where it has none; NaN for the special bins."""
    finite = np.sort(values[np.isfinite(values)])
    cuts = column.cuts
    below = np.concatenate(([0], np.searchsorted(finite, cuts, side="left"), [len(finite)]))
    counts = np.diff(below)
    with np.errstate(over="ignore"):
        middles = np.concatenate((cuts[:1], cuts[:-1] / 2 + cuts[1:] / 2, cuts[-1:]))
        # Scaled down before adding, so that a few huge values cannot overflow the sum.
        totals = np.add.reduceat(np.append(finite / len(finite), 0.0), np.minimum(below[:-1], len(finite)))
    means = np.where(counts > 0, totals / np.maximum(counts, 1) * len(finite), middles)
    lower, upper = np.concatenate((cuts[:1], cuts)), np.concatenate((cuts, cuts[-1:]))
    return np.concatenate(([np.nan], np.clip(means, lower, upper), [np.nan, np.nan]))


def most_frequent(tallied: Mapping[str | None, int], limit: int) -> tuple[str, ...]:
    """At most ``limit`` categories, the most frequent first, equals in alphabetical order."""
    ranked = sorted(((-count, name) for name, count in tallied.items() if name is not None))
    return tuple(name for _, name in ranked[:limit])
