"""Columns' distributions as at most twenty bars with readable names, for drawing."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.columns import Columns, References
from driftline.results import ColumnShape

#: Bars at most, the special ones (unseen, missing, infinite, others) among them.
MAXIMUM_BARS = 20
_PLAIN_BARS = 16
# Bins after the finite ones: infinity, missing.
_LAST_SPECIAL = 2

#: Names of the bars of a column's finite values, and the bar of each finite bin, ascending.
Axis = tuple[list[str], NDArray[np.intp]]
_SPECIAL = ("-inf", "+inf", "missing")


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of numeric columns, made as they are asked for; those of categories follow from the window.

    By column. ``names``: of the bars; none yet: no axis yet. A bar is neighbouring bins, so that its rows are the
    difference of rows up to a bin: at ``upper`` and at ``lower`` in the matrix of these rows, which is not taken off
    where ``first``; shape (columns, bars). ``reference``: its heights. ``filled``: of a column that had few values in
    the reference, which bins had rows when its axis was made. ``drawn``: which bars were drawn last, with their names
    and their heights in the reference.
    """

    before: References
    names: list[tuple[str, ...]] = field(init=False, repr=False)
    upper: NDArray[np.intp] = field(init=False, repr=False)
    lower: NDArray[np.intp] = field(init=False, repr=False)
    first: NDArray[np.bool_] = field(init=False, repr=False)
    reference: NDArray[np.float64] = field(init=False, repr=False)
    filled: dict[int, bytes] = field(init=False, repr=False)
    drawn: dict[int, tuple[bytes, tuple[str, ...], tuple[float, ...]]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        samples = self.before.samples
        shape = len(samples), MAXIMUM_BARS
        few = [place for place, sample in enumerate(samples) if _are_few(sample.reference[1:-2] > 0)]
        object.__setattr__(self, "names", [()] * len(samples))
        object.__setattr__(self, "upper", np.zeros(shape, dtype=np.intp))
        object.__setattr__(self, "lower", np.zeros(shape, dtype=np.intp))
        object.__setattr__(self, "first", np.zeros(shape, dtype=bool))
        object.__setattr__(self, "reference", np.zeros(shape))
        object.__setattr__(self, "filled", dict.fromkeys(few, b""))

    def heights(self, below: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shares per bar, shape (columns, bars)."""
        return (below.take(self.upper) - below.take(self.lower) * ~self.first) / rows[:, None]

    def fit(self, columns: Columns) -> None:
        """Make the axes that a window needs and that are not there."""
        asked = [place for place, names in enumerate(self.names) if not names and place not in self.filled]
        for place in asked:
            sample = self.before.samples[place]
            self._put(place, _equal_widths(sample.values[1:-2], sample.reference[1:-2]))
        for place, before in self.filled.items():
            sample = self.before.samples[place]
            finite = slice(1, len(sample.values) - _LAST_SPECIAL)
            filled = (sample.reference[finite] > 0) | (columns.current[place, finite] > 0)
            pattern = filled.tobytes()
            if pattern != before:
                values = sample.values[finite]
                few = _are_few(filled)
                self._put(place, _of_few(values, filled) if few else _equal_widths(values, sample.reference[finite]))
                self.filled[place] = pattern
                asked.append(place)
        if asked:
            self.reference[:] = self.heights(self.before.below, self.before.rows)

    def _put(self, place: int, axis: Axis) -> None:
        plain, bars = axis
        start, last = place * self.before.counts.shape[1], len(plain)
        self.names[place] = (*plain, *_SPECIAL)
        end = start + len(bars) + 1
        self.lower[place] = self.upper[place] = start
        self.lower[place, :last] += np.searchsorted(bars, np.arange(last), side="left")
        self.upper[place, :last] += np.searchsorted(bars, np.arange(last), side="right")
        self.lower[place, last + 1 : last + 3] = end - 1, end
        self.upper[place, last + 1 : last + 3] = end, end + 1
        self.first[place] = np.arange(MAXIMUM_BARS) == last
        self.drawn.pop(place, None)


def column_shapes(columns: Columns, axes: Axes) -> list[ColumnShape]:
    """Each column in the window beside the reference; shares sum to one, bars empty on both sides are left out.

    ``axes``: of the same reference; what is worked out of it is kept there.
    """
    return _of_categories(columns) if columns.before.kind == "categorical" else _of_values(columns, axes)


def _of_values(columns: Columns, axes: Axes) -> list[ColumnShape]:
    axes.fit(columns)
    current = axes.heights(columns.below, columns.rows)
    kept = (axes.reference > 0) | (current > 0)
    shapes = []
    for place, (sample, drawn, now) in enumerate(
        zip(columns.before.samples, kept.tolist(), current.tolist(), strict=True)
    ):
        pattern = bytes(drawn)
        known = axes.drawn.get(place)
        if known is None or known[0] != pattern:
            before = axes.reference[place].tolist()
            known = pattern, tuple(compress(axes.names[place], drawn)), tuple(compress(before, drawn))
            axes.drawn[place] = known
        shapes.append(ColumnShape(sample.column, known[1], known[2], tuple(compress(now, drawn))))
    return shapes


def _of_categories(columns: Columns) -> list[ColumnShape]:
    names, bars = _category_bars(columns)
    reference = _heights(bars, columns.before.counts, columns.before.rows)
    current = _heights(bars, columns.current, columns.rows)
    kept = ((reference > 0) | (current > 0)).tolist()
    return [
        ColumnShape(sample.column, *(tuple(compress(each, drawn)) for each in (named, before, now)))
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
    each = np.arange(len(bars))[:, None]
    bars[each, largest] = np.arange(largest.shape[1])
    bars[each, unseen] = _PLAIN_BARS + 1
    bars[each, unseen + 1] = _PLAIN_BARS + 2
    names = []
    for sample, codes in zip(before.samples, largest.tolist(), strict=True):
        known = [sample.categories[code] for code in codes if code < len(sample.categories)]
        names.append([*known, *[""] * (_PLAIN_BARS - len(known)), "all others", "unseen", "missing"])
    return names, bars


def _are_few(filled: NDArray[np.bool_]) -> bool:
    """Whether so few values occur that each has a bar."""
    return int(np.count_nonzero(filled)) <= _PLAIN_BARS


def _of_few(values: NDArray[np.float64], filled: NDArray[np.bool_]) -> Axis:
    """A bar for each value that occurs."""
    plain = [f"{value:.4g}" for value in values[filled]] or ["none"]
    return plain, np.minimum(np.cumsum(filled) - filled, len(plain) - 1)


def _equal_widths(values: NDArray[np.float64], reference: NDArray[np.int64]) -> Axis:
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
