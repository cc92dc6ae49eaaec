"""Columns' distributions as at most twenty bars with readable names, for drawing."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.columns import Columns, References
from driftline.results import ColumnShape

#: Bars at most, the special ones (unseen, missing, infinite, others) among them.
MAXIMUM_BARS = 20
_PLAIN_BARS = 16

#: Names of a column's bars, and the bar of each of its bins.
Axis = tuple[list[str], NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of columns of one kind: names by column, and the bar of each bin, shape (columns, bins).

    Filled as they are asked for. ``few``: of numeric columns with few values, the last axis, and which bins had rows
    then.
    """

    before: References
    names: list[list[str]] = field(init=False, repr=False)
    bars: NDArray[np.intp] = field(init=False, repr=False)
    few: dict[int, tuple[bytes, Axis]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [[] for _ in self.before.samples])
        object.__setattr__(self, "bars", np.zeros(self.before.counts.shape, dtype=np.intp))


def column_shapes(columns: Columns, axes: Axes) -> list[ColumnShape]:
    """Each column in the window beside the reference; shares sum to one, bars empty on both sides are left out.

    ``axes``: of the same reference; what is worked out for few values is kept there.
    """
    names, bars = _category_bars(columns) if columns.before.kind == "categorical" else _value_bars(columns, axes)
    reference = _heights(bars, columns.before.counts, columns.before.rows)
    current = _heights(bars, columns.current, columns.rows)
    kept = ((reference > 0) | (current > 0)).tolist()
    return [
        ColumnShape(
            column=sample.column,
            bins=tuple(itertools.compress(named, drawn)),
            reference=tuple(itertools.compress(before, drawn)),
            current=tuple(itertools.compress(now, drawn)),
        )
        for sample, named, drawn, before, now in zip(
            columns.before.samples, names, kept, reference.tolist(), current.tolist(), strict=True
        )
    ]


def _heights(bars: NDArray[np.intp], counts: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares per bar, shape (columns, bars)."""
    places = bars + np.arange(len(bars))[:, None] * MAXIMUM_BARS
    summed = np.bincount(places.ravel(), counts.ravel(), minlength=len(bars) * MAXIMUM_BARS)
    return summed.reshape(len(bars), MAXIMUM_BARS) / rows[:, None]


def _category_bars(columns: Columns) -> tuple[list[list[str]], NDArray[np.intp]]:
    before = columns.before
    unseen = before.bins[:, None] - CATEGORICAL_EXTRA
    weight = before.counts / before.rows[:, None] + columns.current / columns.rows[:, None]
    weight[np.arange(weight.shape[1]) >= unseen] = -1.0  # unseen and missing have bars of their own
    largest = np.argsort(-weight, axis=1, kind="stable")[:, :_PLAIN_BARS]
    bars = np.full(weight.shape, _PLAIN_BARS)
    np.put_along_axis(bars, largest, np.arange(largest.shape[1])[None, :], axis=1)
    np.put_along_axis(bars, unseen, _PLAIN_BARS + 1, axis=1)
    np.put_along_axis(bars, unseen + 1, _PLAIN_BARS + 2, axis=1)
    names = []
    for sample, codes in zip(before.samples, largest.tolist(), strict=True):
        known = [sample.categories[code] for code in codes if code < len(sample.categories)]
        names.append([*known, *[""] * (_PLAIN_BARS - len(known)), "all others", "unseen", "missing"])
    return names, bars


def _value_bars(columns: Columns, axes: Axes) -> tuple[list[list[str]], NDArray[np.intp]]:
    before = columns.before
    places = np.arange(columns.current.shape[1])
    filled = (before.counts > 0) | (columns.current > 0)
    filled &= (places >= 1) & (places < before.bins[:, None] - 2)
    few = filled.sum(axis=1) <= _PLAIN_BARS
    for place in np.flatnonzero(~few).tolist():
        if not axes.names[place]:
            sample = before.samples[place]
            axes.names[place], axes.bars[place, : len(sample.values)] = _equal_widths(sample.values, sample.reference)
    if not few.any():
        return axes.names, axes.bars
    names, bars = list(axes.names), axes.bars.copy()
    for place in np.flatnonzero(few).tolist():
        values = before.samples[place].values
        names[place], bars[place, : len(values)] = _of_few(axes, place, values, filled[place, : len(values)])
    return names, bars


def _of_few(axes: Axes, place: int, values: NDArray[np.float64], filled: NDArray[np.bool_]) -> Axis:
    """A bar for each value that occurs."""
    pattern = filled.tobytes()
    known = axes.few.get(place)
    if known is None or known[0] != pattern:
        inner = filled[1:-2]
        plain = [f"{value:.4g}" for value in values[1:-2][inner]] or ["none"]
        known = pattern, _with_special(plain, np.minimum(np.cumsum(inner) - inner, len(plain) - 1))
        axes.few[place] = known
    return known[1]


def _with_special(plain: list[str], bars: NDArray[np.intp]) -> Axis:
    groups = np.concatenate(([len(plain)], bars, [len(plain) + 1, len(plain) + 2])).astype(np.intp)
    return [*plain, "-inf", "+inf", "missing"], groups


def _equal_widths(all_values: NDArray[np.float64], counts: NDArray[np.int64]) -> Axis:
    values, reference = all_values[1:-2], counts[1:-2]
    # The outermost percent would stretch the axis until nothing else can be seen; it has a bar at either end.
    below = np.cumsum(reference) / max(int(reference.sum()), 1)
    low = float(values[int(np.searchsorted(below, 0.01))])
    high = float(values[min(int(np.searchsorted(below, 0.99)), len(values) - 1)])
    if not high > low:
        low, high = float(values[0]), float(values[-1])
    ticks = _round_ticks(low, high, _PLAIN_BARS - 2)
    names = [f"< {ticks[0]:g}", *(f"{a:g} to {b:g}" for a, b in itertools.pairwise(ticks))]
    return _with_special([*names, f">= {ticks[-1]:g}"], np.searchsorted(np.array(ticks), values, side="right"))


def _round_ticks(low: float, high: float, bars: int) -> Sequence[float]:
    rough = max((high - low) / bars, abs(high) * 1e-12, 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    if last - first > bars:
        first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first) + 1)]
