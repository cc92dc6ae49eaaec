"""Columns' distributions as at most twenty bars with readable names, for drawing."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import ColumnSample
from driftline.results import ColumnShape

#: Bars at most, the special ones (unseen, missing, infinite, others) among them.
MAXIMUM_BARS = 20
_PLAIN_BARS = 16


#: Names of a numeric column's bars, and the bar of each finite bin: they follow from the reference.
Axis = tuple[list[str], NDArray[np.intp]]


def column_shape(sample: ColumnSample, axes: dict[str, Axis]) -> ColumnShape:
    """The column in the window beside the reference; shares sum to one, bars empty on both sides are left out.

    ``axes``: what was worked out for the same reference before, by column; it is added to.
    """
    if sample.kind == "categorical":
        names, groups = _category_groups(sample)
    else:
        names, groups = _value_groups(sample, axes)
    reference = np.bincount(groups, sample.reference, minlength=len(names)) / sample.reference_rows
    current = np.bincount(groups, sample.current, minlength=len(names)) / sample.current_rows
    kept = [bar for bar in range(len(names)) if reference[bar] > 0 or current[bar] > 0]
    return ColumnShape(
        column=sample.column,
        bins=tuple(names[bar] for bar in kept),
        reference=tuple(float(reference[bar]) for bar in kept),
        current=tuple(float(current[bar]) for bar in kept),
    )


def _category_groups(sample: ColumnSample) -> tuple[list[str], NDArray[np.intp]]:
    known = len(sample.categories)
    weight = sample.reference[:known] / sample.reference_rows + sample.current[:known] / sample.current_rows
    largest = np.argsort(-weight, kind="stable")[:_PLAIN_BARS]
    groups = np.full(known + 2, len(largest), dtype=np.intp)
    groups[largest] = np.arange(len(largest))
    groups[-2:] = (len(largest) + 1, len(largest) + 2)
    return [*(sample.categories[code] for code in largest), "all others", "unseen", "missing"], groups


def _value_groups(sample: ColumnSample, axes: dict[str, Axis]) -> tuple[list[str], NDArray[np.intp]]:
    values = sample.values[1:-2]
    filled = (sample.reference[1:-2] > 0) | (sample.current[1:-2] > 0)
    places: NDArray[np.intp]
    if int(filled.sum()) <= _PLAIN_BARS:
        places = np.cumsum(filled) - filled
        plain = [f"{value:.4g}" for value in values[filled]] or ["none"]
        places = np.minimum(places, len(plain) - 1)
    else:
        if sample.column not in axes:
            axes[sample.column] = _equal_widths(values, sample.reference[1:-2])
        plain, places = axes[sample.column]
    groups = np.concatenate(([len(plain)], places, [len(plain) + 1, len(plain) + 2])).astype(np.intp)
    return [*plain, "-inf", "+inf", "missing"], groups


def _equal_widths(values: NDArray[np.float64], reference: NDArray[np.int64]) -> tuple[list[str], NDArray[np.intp]]:
    # The outermost percent would stretch the axis until nothing else can be seen; it has a bar at either end.
    below = np.cumsum(reference) / max(int(reference.sum()), 1)
    low = float(values[int(np.searchsorted(below, 0.01))])
    high = float(values[min(int(np.searchsorted(below, 0.99)), len(values) - 1)])
    if not high > low:
        low, high = float(values[0]), float(values[-1])
    ticks = _round_ticks(low, high, _PLAIN_BARS - 2)
    names = [f"< {ticks[0]:g}", *(f"{a:g} to {b:g}" for a, b in itertools.pairwise(ticks))]
    return [*names, f">= {ticks[-1]:g}"], np.searchsorted(np.array(ticks), values, side="right")


def _round_ticks(low: float, high: float, bars: int) -> Sequence[float]:
    rough = max((high - low) / bars, abs(high) * 1e-12, 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    if last - first > bars:
        first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first) + 1)]
