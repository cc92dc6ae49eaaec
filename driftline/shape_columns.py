"""The shapes of a window's columns as lists of their fields, as results are (``result_columns.py``).

They are drawn and stored so; a :class:`ColumnShape` is made for who asks for one.

>>> shapes = ShapeColumns(["x"], [("< 1", ">= 1")], [(0.5, 0.5)], [(0.25, 0.75)])
>>> shapes[0]
ColumnShape(column='x', bins=('< 1', '>= 1'), reference=(0.5, 0.5), current=(0.25, 0.75))
>>> shapes == [shapes[0]]
True
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from driftline.results import ColumnShape


@dataclass(frozen=True, slots=True, eq=False)
class ShapeColumns(Sequence[ColumnShape]):
    """The fields of :class:`ColumnShape` by name, each a list of one length."""

    column: list[str] = field(default_factory=list)
    bins: list[tuple[str, ...]] = field(default_factory=list)
    reference: list[tuple[float, ...]] = field(default_factory=list)
    current: list[tuple[float, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, shapes: Iterable[ColumnShape]) -> "ShapeColumns":
        """Shapes as columns."""
        if isinstance(shapes, ShapeColumns):
            return shapes
        listed = list(shapes)
        return cls(
            [shape.column for shape in listed],
            [shape.bins for shape in listed],
            [shape.reference for shape in listed],
            [shape.current for shape in listed],
        )

    def extend(self, more: "ShapeColumns") -> None:
        """Put others after these."""
        self.column.extend(more.column)
        self.bins.extend(more.bins)
        self.reference.extend(more.reference)
        self.current.extend(more.current)

    def chosen(self, places: Sequence[int]) -> "ShapeColumns":
        """Those of these places, in their order."""
        return ShapeColumns(
            [self.column[place] for place in places],
            [self.bins[place] for place in places],
            [self.reference[place] for place in places],
            [self.current[place] for place in places],
        )

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> ColumnShape: ...

    @overload
    def __getitem__(self, place: slice) -> list[ColumnShape]: ...

    def __getitem__(self, place: int | slice) -> ColumnShape | list[ColumnShape]:
        if isinstance(place, slice):
            return list(self)[place]
        return ColumnShape(self.column[place], self.bins[place], self.reference[place], self.current[place])

    def __iter__(self) -> Iterator[ColumnShape]:
        return map(ColumnShape, self.column, self.bins, self.reference, self.current)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
