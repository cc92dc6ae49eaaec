"""The columns of a segment in blocks that are looked at together: what follows from the reference, worked out once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Kind, Layout
from detectors.evaluating.catalogue import detector_of_columns
from detectors.evaluating.decision import ColumnEvidence
from detectors.evaluating.shapes import Axes, column_shapes
from detectors.statistics.brownian_bridge import AreaNulls, area_nulls
from detectors.statistics.columns import Columns, References
from detectors.statistics.effect_size import effect_sizes
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.tables import GROUPS, group_starts
from driftline.monitor_detectors import DetectorSpec
from driftline.results import ColumnShape

# A matrix has as many places for each column as the one with the most bins: columns with very many are looked at apart.
_MOST_PLACES = 100_000
_UNNAMED: NDArray[np.float64] = np.empty(0)


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one kind.

    ``at``: where each bin stands in a window's vector, shape (columns, bins); after a column's last bin, one past the
    vector's end.
    """

    at: NDArray[np.intp]
    before: References
    axes: Axes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", Axes(self.before))

    def beside(self, vector: NDArray[np.int64]) -> Columns:
        """The columns of a window; ``vector`` ends in a 0 that belongs to none."""
        return Columns(self.before, vector[self.at])


@dataclass(frozen=True, slots=True)
class Watched:
    """All watched columns of a window; by their names, in which block and where in it each is."""

    blocks: tuple[tuple[Block, Columns], ...]
    places: dict[str, tuple[int, int]]

    def sample(self, name: str) -> ColumnSample:
        """One column alone; raises KeyError."""
        block, place = self.places[name]
        return self.blocks[block][1].sample(place)

    def sizes(self, name: str) -> tuple[int, int]:
        """Rows of the column in the reference and in the window."""
        block, place = self.places[name]
        columns = self.blocks[block][1]
        return int(columns.before.rows[place]), int(columns.rows[place])

    def evidence(self, spec: DetectorSpec) -> dict[str, ColumnEvidence]:
        """What the monitor's detectors find, by column."""
        found = {}
        for _, columns in self.blocks:
            seen = columns.together(spec.rows_together)
            names = spec.numeric if columns.before.kind == "numeric" else spec.categorical
            each = [detector_of_columns(name)(seen) for name in names]
            for place, (sample, effect) in enumerate(zip(columns.before.samples, effect_sizes(seen), strict=True)):
                evidence = tuple((name, given[place]) for name, given in zip(names, each, strict=True))
                found[sample.column] = ColumnEvidence(sample.column, evidence, effect)
        return found

    def shapes(self) -> tuple[ColumnShape, ...]:
        """Every column to be drawn, in their order."""
        drawn = [column_shapes(columns, block.axes) for block, columns in self.blocks]
        return tuple(drawn[block][place] for block, place in self.places.values())


@dataclass(frozen=True, slots=True)
class SegmentBlocks:
    """The blocks of one segment of the reference."""

    blocks: tuple[Block, ...]
    places: dict[str, tuple[int, int]]

    def beside(self, vector: NDArray[np.int64]) -> Watched:
        """A window's counts beside the reference's."""
        ended = np.append(vector, 0)
        return Watched(tuple((block, block.beside(ended)) for block in self.blocks), self.places)


def segment_blocks(
    layout: Layout,
    expected: NDArray[np.int64],
    representatives: Mapping[str, NDArray[np.float64]],
    bridge: NDArray[np.float32],
) -> SegmentBlocks:
    """The watched columns of a layout (those with bins of their own), as a reference counted them.

    ``expected``: its vector of the segment. ``representatives``: the value that each numeric bin stands for, by column.
    """
    blocks: list[Block] = []
    places: dict[str, tuple[int, int]] = {}
    for indexes in _apart(layout):
        samples = tuple(_sample(layout, index, expected, representatives, bridge) for index in indexes)
        for place, index in enumerate(indexes):
            places[layout.columns[index].name] = len(blocks), place
        blocks.append(Block(_at(layout, indexes), References(samples)))
    order = {column.name: places[column.name] for column in layout.columns if column.name in places}
    return SegmentBlocks(tuple(blocks), order)


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
    values = representatives.get(column.name, _UNNAMED)
    groups: NDArray[np.intp] | None = None
    nulls: AreaNulls | None = None
    if len(values):
        groups, nulls = group_starts(counts[1:-2], GROUPS), area_nulls(counts, values, bridge)
    return ColumnSample(column.name, column.kind, counts, counts, values, column.categories, groups, nulls)
