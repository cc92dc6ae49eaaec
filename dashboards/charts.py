"""Small charts drawn by hand: no script, no library, colours from the page's CSS variables.

Sizes are in the units of the ``viewBox``; pages scale them by CSS. Everything from data is escaped in ``svg.py``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dashboards import words
from dashboards.history import ColumnFinding, Measure, WindowView
from dashboards.svg import Point, Shape, circle, line, linked, polyline, rect, svg, text, titled
from driftline.results import ColumnShape, Interval

_WIDTH, _LEFT, _RIGHT = 960.0, 70.0, 12.0
_MAXIMUM_BINS = 24
#: Distances between lines of a metric's scale.
_STEPS = 3
#: Bins narrower than this are named at both ends only.
_SMALLEST_LABELLED_SLOT = 12.0
_LETTER_WIDTH = 5.6
_LONGEST_LABEL = 12

#: The address behind a window, None for a picture without links.
Link = Callable[[WindowView], str | None]


def no_link(_window: WindowView) -> None:
    """For pictures that lead nowhere, as in a report."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Places ``count`` equal slots between left and right."""

    count: int

    @property
    def slot(self) -> float:
        return (_WIDTH - _LEFT - _RIGHT) / max(self.count, 1)

    def left(self, index: int) -> float:
        return _LEFT + index * self.slot

    def middle(self, index: int) -> float:
        return self.left(index) + self.slot / 2


@dataclass(frozen=True, slots=True)
class _Scale:
    """Places values between ``low`` and ``high`` into a vertical band (SVG grows downwards)."""

    low: float
    high: float
    top: float
    height: float
    step: float

    def ticks(self) -> list[float]:
        """Round values from ``low`` to ``high``."""
        return [self.low + self.step * index for index in range(round((self.high - self.low) / self.step) + 1)]

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return self.top + self.height * (1 - share)


def timeline(windows: Sequence[WindowView], link: Link = no_link, *, metric: str | None = None) -> Markup:
    """Verdict per window, the metric with its interval band, label coverage and rows, on one time axis.

    ``metric`` None draws each window's headline metric.
    """
    axis = _Axis(len(windows))
    measures = [_measure(window, metric) for window in windows]
    parts = [*_verdicts(windows, axis, link, top=4, height=26)]
    bottom = 30.0
    if any(measures):
        parts += _metric(windows, measures, axis, top=62, height=140)
        parts += _coverage(measures, axis, top=216)
        bottom = 230.0
    parts += _rows(windows, axis, top=bottom + 16, height=40)
    parts += _dates(windows, axis, y=bottom + 74)
    return svg(_WIDTH, bottom + 82, parts, "chart timeline", "Windows over time")


def strip(windows: Sequence[WindowView], *, width: float = 240, height: float = 16) -> Markup:
    """The newest windows' verdicts as a small strip."""
    slot = width / max(len(windows), 1)
    cells = [
        rect(f"v-{window.verdict.value}", i * slot, 0, max(slot - 1.5, 1), height, title=_title(window), rx=1.5)
        for i, window in enumerate(windows)
    ]
    return svg(width, height, cells, "chart strip", "Verdicts of the newest windows", stretch=True)


def effect_scale(findings: Sequence[ColumnFinding], margin: float) -> float:
    """The largest effect that bars of these findings must show, so that they can be compared."""
    uppers = [finding.effect.upper for finding in findings if finding.effect is not None]
    return min(1.0, max([0.3, margin * 2, *uppers]))


def effect_bar(effect: Interval | None, margin: float, scale: float = 1.0) -> Markup:
    """An effect from 0 to ``scale`` as a bar with its interval and a tick at the margin that matters."""
    if effect is None:
        return Markup('<span class="muted">–</span>')
    width = 160.0
    value, lower, upper, tick = (
        min(1.0, part / scale) * width for part in (effect.value, effect.lower, effect.upper, margin)
    )
    parts = [
        rect("track", 0, 5, width, 6, rx=3),
        rect("bar over" if effect.value >= margin else "bar under", 0, 5, value, 6, rx=3),
        line("whisker", (lower, 8), (upper, 8)),
        line("margin", (tick, 0), (tick, 16)),
    ]
    label = f"effect {effect.value:.2f}, interval {effect.lower:.2f} to {effect.upper:.2f}, margin {margin:.2f}"
    return svg(width, 16, parts, "chart effect", label)


def distribution(shape: ColumnShape, *, width: float = 340, height: float = 104) -> Markup:
    """A column before (outline) and now (filled), share per bin; neighbouring bins are merged beyond 24."""
    bins, before, now = _merged(shape)
    high = max([*before, *now, 1e-9])
    slot, plot = (width - 2) / max(len(bins), 1), height - 18
    bars = []
    for index, name in enumerate(bins):
        x, old, new = 1 + index * slot, before[index] / high * (plot - 2), now[index] / high * (plot - 2)
        bars.append(
            titled(
                f"{name}: before {words.share(before[index])}, now {words.share(now[index])}",
                rect("now", x + slot * 0.14, plot - new, slot * 0.72, new),
                rect("before", x + slot * 0.04, plot - old, slot * 0.92, old),
            )
        )
    parts = [*bars, line("base", (0, plot), (width, plot)), *_bin_labels(bins, slot, width, height - 4)]
    return svg(width, height, parts, "chart distribution", f"Distribution of {shape.column}, before and now")


# --- parts of the timeline ----------------------------------------------------------------------------------------
def _verdicts(windows: Sequence[WindowView], axis: _Axis, link: Link, top: float, height: float) -> list[Shape]:
    cells = [text("rowlabel", 0, top + height / 2 + 4, "verdict")]
    gap = min(3.0, axis.slot * 0.2)
    for index, window in enumerate(windows):
        place = (axis.left(index) + gap / 2, top, axis.slot - gap, height)
        cell = rect(f"v-{window.verdict.value}", *place, title=_title(window), rx=2)
        target = link(window)
        cells.append(cell if target is None else linked(target, cell))
    return cells


def _metric(
    windows: Sequence[WindowView], measures: Sequence[Measure | None], axis: _Axis, top: float, height: float
) -> list[Shape]:
    scale = _metric_scale(measures, top, height)
    name = next(measure.name for measure in measures if measure is not None)
    parts = [text("rowlabel", 0, top - 14, words.metric_label(name))]
    for value in scale.ticks():
        y = scale.y(value)
        parts.append(line("grid", (_LEFT, y), (_WIDTH - _RIGHT, y)))
        parts.append(text("tick", _LEFT - 6, y + 4, words.metric_value(name, value)))
    for run in _runs(measures):
        parts += _run(run, measures, axis, scale)
    parts += _reference(measures, scale)
    parts += [
        _dot(words.span(window.key.start_s, window.key.end_s), measure, axis.middle(index), scale)
        for index, (window, measure) in enumerate(zip(windows, measures, strict=True))
        if measure is not None
    ]
    return parts


def _metric_scale(measures: Sequence[Measure | None], top: float, height: float) -> _Scale:
    values: list[float] = []
    for measure in measures:
        if measure is not None:
            values += [measure.value, *((measure.interval.lower, measure.interval.upper) if measure.interval else ())]
            values += [measure.reference] if measure.reference is not None else []
    low, high = min(values), max(values)
    step = _round_step(max(high - low, 0.01 * max(abs(high), 1e-6)) / _STEPS)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return _Scale(low, high if high > low else low + step, top, height, step)


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(step for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= rough)


def _runs(measures: Sequence[Measure | None]) -> list[list[int]]:
    runs: list[list[int]] = [[]]
    for index, measure in enumerate(measures):
        if measure is None:
            runs.append([])
        else:
            runs[-1].append(index)
    return [run for run in runs if run]


def _run(run: list[int], measures: Sequence[Measure | None], axis: _Axis, scale: _Scale) -> list[Shape]:
    upper: list[Point] = []
    lower: list[Point] = []
    middle: list[Point] = []
    for index in run:
        measure = measures[index]
        if measure is not None:
            x, interval = axis.middle(index), measure.interval or Interval(measure.value, measure.value, measure.value)
            upper.append((x, scale.y(interval.upper)))
            lower.append((x, scale.y(interval.lower)))
            middle.append((x, scale.y(measure.value)))
    return [polyline("band", [*upper, *reversed(lower)], closed=True), polyline("line", middle)]


def _reference(measures: Sequence[Measure | None], scale: _Scale) -> list[Shape]:
    value = next((measure.reference for measure in measures if measure and measure.reference is not None), None)
    if value is None:
        return []
    y = scale.y(value)
    return [
        line("reference", (_LEFT, y), (_WIDTH - _RIGHT, y)),
        text("note", _WIDTH - _RIGHT, y - 5, "reference"),
    ]


def _dot(when: str, measure: Measure, x: float, scale: _Scale) -> Shape:
    y = scale.y(measure.value)
    dot = circle("dot", (x, y), 3)
    interval = measure.interval
    whisker = [] if interval is None else [line("whisker", (x, scale.y(interval.lower)), (x, scale.y(interval.upper)))]
    return titled(f"{when}: {words.measure(measure)}, {words.coverage(measure)}", *whisker, dot)


def _coverage(measures: Sequence[Measure | None], axis: _Axis, top: float) -> list[Shape]:
    cells = [text("rowlabel", 0, top + 9, "labels")]
    for index, measure in enumerate(measures):
        share = 0.0 if measure is None or measure.coverage is None else measure.coverage
        title = "no labels yet" if measure is None else words.coverage(measure)
        place = (axis.left(index) + 1, top, max(axis.slot - 2, 1), 11)
        cells.append(rect("coverage", *place, title=title, rx=2, opacity=0.08 + 0.92 * share))
    return cells


def _rows(windows: Sequence[WindowView], axis: _Axis, top: float, height: float) -> list[Shape]:
    most = max((window.rows for window in windows), default=0) or 1
    parts = [text("rowlabel", 0, top + height - 1, "rows"), text("tick", _LEFT - 6, top + 9, words.count(most))]
    for index, window in enumerate(windows):
        tall = window.rows / most * height
        place = (axis.left(index) + 1, top + height - tall, max(axis.slot - 2, 1), tall)
        parts.append(rect("rows", *place, title=f"{_when(window)}: {words.count(window.rows)} rows"))
    return parts


def _dates(windows: Sequence[WindowView], axis: _Axis, y: float) -> list[Shape]:
    step = max(1, -(-len(windows) // 8))
    places = range(0, len(windows), step)
    return [text("date", axis.middle(index), y, words.date(windows[index].key.start_s)) for index in places]


# --- small things -------------------------------------------------------------------------------------------------
def _measure(window: WindowView, metric: str | None) -> Measure | None:
    if metric is None:
        return window.headline
    return next((found for found in window.measures if found.name == metric and found.labelled > 0), None)


def _when(window: WindowView) -> str:
    return words.span(window.key.start_s, window.key.end_s)


def _title(window: WindowView) -> str:
    return f"{_when(window)}: {words.VERDICT_WORDS[window.verdict]}"


def _merged(shape: ColumnShape) -> tuple[list[str], list[float], list[float]]:
    width = max(1, -(-len(shape.bins) // _MAXIMUM_BINS))
    bins: list[str] = []
    before: list[float] = []
    now: list[float] = []
    for start in range(0, len(shape.bins), width):
        names = shape.bins[start : start + width]
        bins.append(names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}")
        before.append(sum(shape.reference[start : start + width]))
        now.append(sum(shape.current[start : start + width]))
    return bins, before, now


def _bin_labels(bins: Sequence[str], slot: float, width: float, y: float) -> list[Shape]:
    """A name below as many bins as there is room for; of a range its lower end says enough."""
    if not bins:
        return []
    names = [name.partition(" to ")[0] for name in bins]
    if slot < _SMALLEST_LABELLED_SLOT:
        return [text("bin first", 0, y, _short(names[0], 24)), text("bin last", width, y, _short(names[-1], 24))]
    longest = min(max(map(len, names)), _LONGEST_LABEL)
    step = math.ceil((longest + 1) * _LETTER_WIDTH / slot)
    room = max(3, int(step * slot / _LETTER_WIDTH))
    middles = {index: 1 + (index + 0.5) * slot for index in range(0, len(bins), step)}
    return [_bin_label(_short(names[index], room), middle, width, y) for index, middle in middles.items()]


def _bin_label(name: str, middle: float, width: float, y: float) -> Shape:
    """Below the middle of its bin, or at the picture's edge where it would reach beyond it."""
    half = len(name) * _LETTER_WIDTH / 2
    if middle - half < 0:
        return text("bin first", 0, y, name)
    return text("bin last", width, y, name) if middle + half > width else text("bin", middle, y, name)


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"
