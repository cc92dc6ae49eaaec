"""Columns' distributions as at most twenty bars with readable names, for drawing."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.columns import Columns, References, shares_before, shares_now
from detectors.statistics.worked_out import worked_out
from driftline.native import native_module
from driftline.shape_columns import ShapeColumns

#: Bars at most, the special ones (unseen, missing, infinite, others) among them.
MAXIMUM_BARS = 20
_PLAIN_BARS = 16
# Bins after the finite ones: infinity, missing.
_LAST_SPECIAL = 2

#: Names of the bars of a column's finite values, and the bar of each finite bin, ascending.
Axis = tuple[list[str], NDArray[np.intp]]
_SPECIAL = ("-inf", "+inf", "missing")


class Kernel(Protocol):
    """What ``drawing_kernel.pyx`` gives."""

    def draw_values(
        self,
        below: NDArray[np.int64],
        upper: NDArray[np.intp],
        lower: NDArray[np.intp],
        first: NDArray[np.uint8],
        reference: NDArray[np.float64],
        bars: NDArray[np.uint8],
        heights: list[tuple[float, ...]],
    ) -> None:
        """Numeric columns' bars and their heights, put into the last two; all else are the fields of :class:`Axes`."""
        ...

    def draw_categories(
        self,
        counts: NDArray[np.int64],
        current: NDArray[np.int64],
        rows_before: NDArray[np.int64],
        rows: NDArray[np.int64],
        unseen: NDArray[np.intp],
        categories: list[tuple[str, ...]],
        bins: list[tuple[str, ...]],
        reference: list[tuple[float, ...]],
        heights: list[tuple[float, ...]],
    ) -> None:
        """Categorical columns' bars, and their heights on both sides, put into the last three."""
        ...


def kernel() -> Kernel | None:
    """The compiled module; None where this build has none."""
    return cast("Kernel | None", native_module("detectors.evaluating.drawing_kernel"))


_KERNEL = kernel()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drawing:
    """Which bars of numeric columns are drawn, shape (columns, bars), with their names and heights in the reference.

    ``places``: where they stand in the matrix of all bars, one column's after the other's; ``ends``: the number of
    them up to and with each column's.
    """

    bars: NDArray[np.bool_]
    names: list[tuple[str, ...]]
    reference: list[tuple[float, ...]]
    places: NDArray[np.intp]
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of numeric columns, made as they are asked for; those of categories follow from the window.

    By column. ``names``: of the bars; none yet: no axis yet. A bar is neighbouring bins, so that its rows are the
    difference of rows up to a bin: at ``upper`` and at ``lower`` in the matrix of these rows, which is not taken off
    where ``first``; shape (columns, bars). ``reference``: its heights. ``few``: the columns that had few values in the
    reference; ``filled``: which of their bins may have rows without another axis, shape (columns among the few, bins);
    ``wide``: which of them have bars of equal widths, as a window had many values. ``drawn``: what was drawn last,
    under its only key, None.
    """

    before: References
    names: list[tuple[str, ...]] = field(init=False, repr=False)
    upper: NDArray[np.intp] = field(init=False, repr=False)
    lower: NDArray[np.intp] = field(init=False, repr=False)
    first: NDArray[np.bool_] = field(init=False, repr=False)
    reference: NDArray[np.float64] = field(init=False, repr=False)
    few: list[int] = field(init=False, repr=False)
    filled: NDArray[np.bool_] = field(init=False, repr=False)
    wide: NDArray[np.bool_] = field(init=False, repr=False)
    _few_bins: NDArray[np.intp] = field(init=False, repr=False)
    _finite: NDArray[np.bool_] = field(init=False, repr=False)
    _had: NDArray[np.bool_] = field(init=False, repr=False)
    _inner: NDArray[np.int64] = field(init=False, repr=False)
    drawn: dict[None, Drawing] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        samples = self.before.samples
        shape = len(samples), MAXIMUM_BARS
        few = [place for place, sample in enumerate(samples) if _are_few(sample.reference[1:-2] > 0)]
        object.__setattr__(self, "names", [()] * len(samples))
        object.__setattr__(self, "upper", np.zeros(shape, dtype=np.intp))
        object.__setattr__(self, "lower", np.zeros(shape, dtype=np.intp))
        object.__setattr__(self, "first", np.zeros(shape, dtype=bool))
        object.__setattr__(self, "reference", np.zeros(shape))
        bins = np.arange(self.before.bins[few].max(initial=0))
        finite = (bins >= 1) & (bins < self.before.bins[few, None] - _LAST_SPECIAL)
        few_bins = np.array(few, dtype=np.intp)[:, None] * self.before.counts.shape[1] + bins
        object.__setattr__(self, "few", few)
        object.__setattr__(self, "_few_bins", few_bins)
        object.__setattr__(self, "_finite", finite)
        object.__setattr__(self, "_had", (self.before.counts.take(few_bins) > 0) & finite)
        object.__setattr__(self, "_inner", np.ones(shape, dtype=np.int64))
        object.__setattr__(self, "filled", np.zeros(finite.shape, dtype=bool))
        object.__setattr__(self, "wide", np.zeros(len(few), dtype=bool))

    def heights(self, below: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shares per bar, shape (columns, bars)."""
        return (below.take(self.upper) - below.take(self.lower) * self._inner) / rows[:, None]

    def fit(self, columns: Columns) -> None:
        """Make the axes that a window needs and that are not there."""
        asked = [] if all(self.names) else [place for place in range(len(self.names)) if place not in self.few]
        for place in asked:
            sample = self.before.samples[place]
            self._put(place, _equal_widths(sample.values[1:-2], sample.reference[1:-2]))
        filled = self._had | ((columns.current.take(self._few_bins) > 0) & self._finite)
        unfit = (filled > self.filled).any(axis=1)
        if self.wide.any():
            unfit |= self.wide & (filled.sum(axis=1) <= _PLAIN_BARS)
        for row in range(len(self.few)) if asked else np.flatnonzero(unfit).tolist():
            self._refit(row, filled[row])
            asked.append(self.few[row])
        if asked:
            self.reference[:] = self.heights(self.before.below, self.before.rows)
            self.drawn.clear()

    def _refit(self, row: int, has: NDArray[np.bool_]) -> None:
        """Another axis for one of the few, for a window that ``has`` rows in these bins."""
        # Bars of bins that other windows had rows in are not drawn, and spare the next one another axis.
        together = has if self.wide[row] else has | self.filled[row]
        has = together if _are_few(together) else has
        is_few = _are_few(has)
        place = self.few[row]
        sample = self.before.samples[place]
        finite = slice(1, len(sample.values) - _LAST_SPECIAL)
        values = sample.values[finite]
        self._put(place, _of_few(values, has[finite]) if is_few else _equal_widths(values, sample.reference[finite]))
        self.filled[row] = has if is_few else True
        self.wide[row] = not is_few

    def drawing(self, bars: NDArray[np.bool_]) -> Drawing:
        """What these bars are, which are above zero in the reference or in a window."""
        last = self.drawn.get(None)
        others = np.arange(len(bars)) if last is None else np.flatnonzero((last.bars != bars).any(axis=1))
        if last is not None and not len(others):
            return last
        names = self.names.copy() if last is None else last.names.copy()
        reference: list[tuple[float, ...]] = [()] * len(bars) if last is None else last.reference.copy()
        for place, drawn, heights in zip(
            others.tolist(), bars[others].tolist(), self.reference[others].tolist(), strict=True
        ):
            names[place] = tuple(compress(self.names[place], drawn))
            reference[place] = tuple(compress(heights, drawn))
        ends = bars.sum(axis=1).cumsum().tolist()
        found = self.drawn[None] = Drawing(bars, names, reference, np.flatnonzero(bars), ends)
        return found

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
        self._inner[place] = ~self.first[place]


def column_shapes(columns: Columns, axes: Axes, compiled: Kernel | None = _KERNEL) -> ShapeColumns:
    """Each column in the window beside the reference; shares sum to one, bars empty on both sides are left out.

    ``axes``: of the same reference; what is worked out of it is kept there.
    """
    if columns.before.kind == "categorical":
        return _of_categories(columns, compiled)
    return _of_values(columns, axes, compiled)


def _of_values(columns: Columns, axes: Axes, compiled: Kernel | None) -> ShapeColumns:
    axes.fit(columns)
    if compiled is None:
        current = axes.heights(columns.below, columns.rows)
        drawn = axes.drawing((axes.reference > 0) | (current > 0))
        heights = _apart_at(current.take(drawn.places).tolist(), drawn.ends)
    else:
        bars, heights = np.empty(axes.first.shape, dtype=np.bool_), []
        first = axes.first.view(np.uint8)
        compiled.draw_values(columns.below, axes.upper, axes.lower, first, axes.reference, bars.view(np.uint8), heights)
        drawn = axes.drawing(bars)
    return ShapeColumns(_names(columns), drawn.names, drawn.reference, heights)


def _apart_at(listed: Sequence[T], ends: list[int]) -> list[tuple[T, ...]]:
    """Names or heights of bars, one column's after the other's, taken apart where each column's end."""
    together = tuple(listed)
    return [together[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _of_categories(columns: Columns, compiled: Kernel | None) -> ShapeColumns:
    before = columns.before
    if compiled is not None:
        drawn = ShapeColumns(_names(columns))
        categories, unseen = [sample.categories for sample in before.samples], before.bins - CATEGORICAL_EXTRA
        counts = before.counts, columns.current, before.rows, columns.rows, unseen
        compiled.draw_categories(*counts, categories, drawn.bins, drawn.reference, drawn.current)
        return drawn
    drawing = worked_out(before.known, "drawing", lambda: _CategoryBars.of(before))
    largest = np.argsort(drawing.order - shares_now(columns), axis=1, kind="stable")[:, :_PLAIN_BARS]
    # Beside few categories, others are nothing but places.
    known = np.concatenate((largest < drawing.known, np.ones_like(drawing.special, dtype=bool)), axis=1)
    bins = np.concatenate((largest + drawing.starts, drawing.special), axis=1)
    reference = _category_heights(before.counts.take(bins) * known, before.rows)
    current = _category_heights(columns.current.take(bins) * known, columns.rows)
    is_drawn = (reference > 0) | (current > 0)
    drawn_places, ends = np.flatnonzero(is_drawn), is_drawn.sum(axis=1).cumsum().tolist()
    named = np.concatenate((bins[:, :-2], drawing.others, bins[:, -2:]), axis=1).take(drawn_places).tolist()
    bars = _apart_at(list(map(drawing.names.__getitem__, named)), ends)
    return ShapeColumns(
        _names(columns), bars, *(_apart_at(side.take(drawn_places).tolist(), ends) for side in (reference, current))
    )


@dataclass(frozen=True, slots=True)
class _CategoryBars:
    """What drawing categories asks of the reference alone; by column, shape (columns, any).

    ``order``: minus each bin's share, larger than any window's share where it is no known category. ``known``: how
    many are. ``starts``: where the column's bins begin in the matrix of all; ``special``: where unseen and missing
    stand there. ``names``: of each bin, one column's after the other's, and last of all ``others``, whose place is it.
    """

    order: NDArray[np.float64]
    known: NDArray[np.intp]
    starts: NDArray[np.intp]
    special: NDArray[np.intp]
    others: NDArray[np.intp]
    names: list[str]

    @classmethod
    def of(cls, before: References) -> "_CategoryBars":
        columns, width = before.counts.shape
        known = before.bins[:, None] - CATEGORICAL_EXTRA
        starts = np.arange(columns)[:, None] * width
        order = np.where(np.arange(width) < known, -shares_before(before), 2.0)
        others = np.full_like(known, before.counts.size)
        return cls(order, known, starts, known + starts + np.arange(CATEGORICAL_EXTRA), others, _category_names(before))


def _category_names(before: References) -> list[str]:
    """What each bin is called, one column's after the other's, and last all others."""
    width = before.counts.shape[1]
    names = [(*sample.categories, "unseen", "missing") for sample in before.samples]
    return [*chain.from_iterable((*each, *[""] * (width - len(each))) for each in names), "all others"]


def _category_heights(largest: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of the largest, of all others, of unseen and missing; given all but the others, shape (columns, bars)."""
    others = rows - largest.sum(axis=1)
    return np.concatenate((largest[:, :-2], others[:, None], largest[:, -2:]), axis=1) / rows[:, None]


def _names(columns: Columns) -> list[str]:
    return [sample.column for sample in columns.before.samples]


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
    rough = max(high / bars - low / bars, abs(high) * 1e-12, 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    if last - first > bars:
        first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first) + 1)]
