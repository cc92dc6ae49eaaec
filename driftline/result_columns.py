"""The results of a window as columns of their fields.

A window of fifty columns has hundreds of results. They are made, decided and stored as columns; a :class:`Result` is
made of them for who asks for one.

>>> from driftline.results import StreamKey
>>> key = WindowKey(StreamKey("default", "flights", "1", "stable"), "", 0.0, 3600.0)
>>> one = Result(key, "x", "ks", "drift", 0.1, "larger_is_worse", Verdict.OK, "x is as expected", 100)
>>> results = ResultColumns.of(key, [one])
>>> results[0] == one, results.statistic
(True, [0.1])
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from operator import attrgetter
from typing import Any, overload

from driftline.results import Direction, Interval, Kind, Result, Verdict, WindowKey


@dataclass(frozen=True, slots=True, eq=False)
class ResultColumns(Sequence[Result]):
    """The fields of :class:`Result` by name, each a list of one length; all results are of ``window``."""

    window: WindowKey
    column: list[str] = field(default_factory=list)
    detector: list[str] = field(default_factory=list)
    kind: list[Kind] = field(default_factory=list)
    statistic: list[float] = field(default_factory=list)
    direction: list[Direction] = field(default_factory=list)
    verdict: list[Verdict] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    sample_size: list[int] = field(default_factory=list)
    reference_size: list[int] = field(default_factory=list)
    p_value: list[float | None] = field(default_factory=list)
    effect: list[Interval | None] = field(default_factory=list)
    coverage: list[float | None] = field(default_factory=list)
    reference_value: list[float | None] = field(default_factory=list)
    heavy_tails: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, window: WindowKey, results: Iterable[Result]) -> "ResultColumns":
        """Results of a window as columns."""
        if isinstance(results, ResultColumns):
            return results
        return cls(window, *map(list, zip(*map(_fields_of, results), strict=True)))

    @property
    def columns(self) -> dict[str, list[Any]]:
        """Every field but the window."""
        return dict(zip(_FIELDS, _fields_of(self), strict=True))

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> Result: ...

    @overload
    def __getitem__(self, place: slice) -> list[Result]: ...

    def __getitem__(self, place: int | slice) -> Result | list[Result]:
        if isinstance(place, slice):
            return list(self)[place]
        return Result(self.window, *(values[place] for values in _fields_of(self)))

    def __iter__(self) -> Iterator[Result]:
        return map(Result, repeat(self.window), *_fields_of(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def places(self, kind: Kind, column: str) -> list[int]:
        """Where the results of this kind about this column stand."""
        pairs = enumerate(zip(self.kind, self.column, strict=True))
        return [place for place, pair in pairs if pair == (kind, column)]

    def replaced(self, changed: dict[int, Result]) -> "ResultColumns":
        """The same with other results in some places."""
        if not changed:
            return self
        columns = {name: values.copy() for name, values in self.columns.items()}
        for place, result in changed.items():
            for name, values in columns.items():
                values[place] = getattr(result, name)
        return ResultColumns(self.window, **columns)


def joined(window: WindowKey, parts: Iterable[Sequence[Result]]) -> ResultColumns:
    """All results of several parts, which are all of one window, in their order."""
    whole = ResultColumns(window)
    columns = _fields_of(whole)
    for part in parts:
        if isinstance(part, ResultColumns):
            for values, more in zip(columns, _fields_of(part), strict=True):
                values.extend(more)
            continue
        for result in part:
            for values, value in zip(columns, _fields_of(result), strict=True):
                values.append(value)
    return whole


_FIELDS = tuple(each.name for each in fields(Result) if each.name != "window")
#: Of a result, or of columns of results.
_fields_of = attrgetter(*_FIELDS)
