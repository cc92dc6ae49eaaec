"""The columns of a segment in blocks that are looked at together: what follows from the reference, worked out once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Kind, Layout
from detectors.evaluating.asked import Asked
from detectors.evaluating.catalogue import detector_of_columns
from detectors.evaluating.shapes import Axes, column_shapes
from detectors.statistics.brownian_bridge import AreaNulls, area_nulls
from detectors.statistics.columns import Columns, References
from detectors.statistics.count_passes import gathered
from detectors.statistics.effect_size import effect_sizes
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.tables import GROUPS, group_starts
from driftline.monitors import Monitor
from driftline.results import Direction, Interval
from driftline.shape_columns import ShapeColumns

# A matrix has as many places for each column as the one with the most bins: columns with very many are looked at apart.
_MOST_PLACES = 100_000
_NONE: NDArray[np.float64] = np.empty(0)
_NO_ROWS: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one kind.

    ``at``: where each bin stands in a window's vector, shape (columns, bins); after a column's last bin, one past the
    vector's end. ``indexes``: the columns' places in the layout.
    """

    at: NDArray[np.intp]
    before: References
    indexes: NDArray[np.intp]
    axes: Axes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", Axes(self.before))

    def beside(self, vector: NDArray[np.int64]) -> Columns:
        """The columns of a window."""
        return Columns(self.before, *gathered(vector, self.at, self.before.bins))


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a window's watched columns: by result, and ``effects`` by column, as ``asked`` has them.

    ``seen``: the columns of each block as the detectors saw them. ``as_one``: by column, how many rows were one.
    """

    asked: Asked
    statistics: list[float]
    p_values: list[float | None]
    directions: list[Direction]
    effects: list[Interval]
    seen: tuple[Columns, ...]
    as_one: list[int]


@dataclass(frozen=True, slots=True)
class Watched:
    """All columns of a window that are looked at; the rest as in :class:`SegmentBlocks`."""

    blocks: tuple[tuple[Block, Columns], ...]
    places: dict[str, tuple[int, int]]
    drawn: list[int]
    asked: Asked

    def sample(self, name: str) -> ColumnSample:
        """One column alone; raises KeyError."""
        block, place = self.places[name]
        return self.blocks[block][1].sample(place)

    def evidence(self, as_one: NDArray[np.int64]) -> Found:
        """What the monitor's detectors find of the watched columns, so many rows of each taken as one; ``as_one``: by
        place in the layout.
        """
        asked = self.asked
        each = [as_one[block.indexes] for block, _ in self.blocks]
        seen = [columns.together(rows) for (_, columns), rows in zip(self.blocks, each, strict=True)]
        found = [
            detector_of_columns(name)(columns)
            for columns, names in zip(seen, asked.names, strict=True)
            for name in names
        ]
        effects = list(chain.from_iterable(map(effect_sizes, seen)))
        return Found(
            asked,
            np.concatenate([_NONE, *(each.statistics for each in found)]).take(asked.found).tolist(),
            _known(np.concatenate([_NONE, *(each.p_values for each in found)]).take(asked.found)),
            asked.of_finders([each.direction for each in found]),
            asked.of_places(effects),
            tuple(seen),
            asked.of_places(np.concatenate([_NO_ROWS, *each]).tolist()),
        )

    def sizes(self) -> tuple[list[int], list[int]]:
        """Rows of each watched column in the reference and in the window."""
        before: list[int] = []
        now: list[int] = []
        for _, columns in self.blocks:
            before += columns.before.rows.tolist()
            now += columns.rows.tolist()
        return self.asked.of_places(before), self.asked.of_places(now)

    def shapes(self) -> ShapeColumns:
        """Every column to be drawn, in their order."""
        whole = ShapeColumns()
        for block, columns in self.blocks:
            whole.extend(column_shapes(columns, block.axes))
        return whole.chosen(self.drawn)


@dataclass(frozen=True, slots=True)
class SegmentBlocks:
    """The blocks of one segment of the reference.

    ``places``: by a column's name, in which block and where in it it is. ``drawn``: in the layout's order, the columns'
    places in all blocks one after the other.
    """

    blocks: tuple[Block, ...]
    places: dict[str, tuple[int, int]]
    drawn: list[int]
    asked: Asked

    def beside(self, vector: NDArray[np.int64]) -> Watched:
        """A window's counts beside the reference's."""
        beside = tuple((block, block.beside(vector)) for block in self.blocks)
        return Watched(beside, self.places, self.drawn, self.asked)


def segment_blocks(
    layout: Layout,
    expected: NDArray[np.int64],
    representatives: Mapping[str, NDArray[np.float64]],
    bridge: NDArray[np.float32],
    monitor: Monitor,
) -> SegmentBlocks:
    """The columns of a layout with bins of their own, as a reference counted them.

    ``expected``: its vector of the segment. ``representatives``: the value that each numeric bin stands for, by column.
    """
    blocks: list[Block] = []
    places: dict[str, tuple[int, int]] = {}
    for indexes in _apart(layout):
        samples = tuple(_sample(layout, index, expected, representatives, bridge) for index in indexes)
        for place, index in enumerate(indexes):
            places[layout.columns[index].name] = len(blocks), place
        blocks.append(Block(_at(layout, indexes), References(samples), np.array(indexes)))
    in_blocks = {name: number for number, name in enumerate(places)}
    drawn = [in_blocks[column.name] for column in layout.columns if column.name in places]
    return SegmentBlocks(tuple(blocks), places, drawn, _asked(monitor, blocks, places))


def _asked(monitor: Monitor, blocks: Sequence[Block], places: Mapping[str, tuple[int, int]]) -> Asked:
    spec = monitor.detectors
    columns = tuple(name for name, _ in monitor.watched())
    return Asked(
        columns,
        tuple(places[name] for name in columns),
        tuple(len(block.at) for block in blocks),
        tuple(spec.numeric if block.before.kind == "numeric" else spec.categorical for block in blocks),
    )


def _apart(layout: Layout) -> Iterator[Sequence[int]]:
    """Columns of one kind, as many at a time as one matrix may hold."""
    kinds: tuple[Kind, ...] = ("numeric", "categorical")
    for kind in kinds:
        taken: list[int] = []
        widest = 0
        for index, column in enumerate(layout.columns):
            if column.kind != kind or column.blank:
                continue
            if taken and (len(taken) + 1) * max(widest, column.bins) > _MOST_PLACES:
                yield taken
                taken, widest = [], 0
            taken.append(index)
            widest = max(widest, column.bins)
        if taken:
            yield taken


def _at(layout: Layout, indexes: Sequence[int]) -> NDArray[np.intp]:
    bins = [layout.columns[index].bins for index in indexes]
    at = np.full((len(indexes), max(bins)), layout.size)
    for row, index, width in zip(at, indexes, bins, strict=True):
        row[:width] = np.arange(layout.starts[index], layout.starts[index] + width)
    return at


def _sample(
    layout: Layout,
    index: int,
    expected: NDArray[np.int64],
    representatives: Mapping[str, NDArray[np.float64]],
    bridge: NDArray[np.float32],
) -> ColumnSample:
    """The column with the reference on both sides."""
    column, counts = layout.columns[index], layout.counts(expected, index)
    values = representatives.get(column.name, _NONE)
    groups: NDArray[np.intp] | None = None
    nulls: AreaNulls | None = None
    if len(values):
        groups, nulls = group_starts(counts[1:-2], GROUPS), area_nulls(counts, values, bridge)
    return ColumnSample(column.name, column.kind, counts, counts, values, column.categories, groups, nulls)


def _known(p_values: NDArray[np.float64]) -> list[float | None]:
    """None where there is none."""
    listed: list[float | None] = p_values.tolist()
    if math.isnan(p_values.sum()):
        for place in np.flatnonzero(np.isnan(p_values)).tolist():
            listed[place] = None
    return listed
