"""Many events at once: runs of those that have nearly everything in common, kept as columns of what they differ in.

An event is made of a run only for those who ask for it; most look at columns alone. Like ``driftline.columns`` it needs
NumPy; the sidecar does not import it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.events import InferenceEvent
from driftline.joined_bytes import JoinedBytes, Positions

_T = TypeVar("_T")
_One_co = TypeVar("_One_co", covariant=True)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class EventRun:
    """Events that differ from ``like`` in their id, time, request id, bodies and ``fields``, and in nothing else.

    ``like``: with empty bodies. ``fields``: other fields of events, by name. ``requests``, ``responses``: the bodies,
    which all lie in one text.
    """

    like: InferenceEvent
    ids: Sequence[str]
    times_ns: NDArray[np.int64]
    request_ids: Sequence[str]
    fields: Mapping[str, Sequence[Any]]
    requests: JoinedBytes
    responses: JoinedBytes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> InferenceEvent:
        replace = msgspec.structs.replace
        return replace(
            self.like,
            id=self.ids[place],
            time_ns=int(self.times_ns[place]),
            request_id=self.request_ids[place],
            request=replace(self.like.request, body=self.requests.piece(place)),
            response=replace(self.like.response, body=self.responses.piece(place)),
            **{name: values[place] for name, values in self.fields.items()},
        )

    def take(self, chosen: Positions) -> "EventRun":
        """The events at these places."""
        listed = chosen.tolist()
        return EventRun(
            self.like,
            [self.ids[place] for place in listed],
            self.times_ns[chosen],
            [self.request_ids[place] for place in listed],
            {name: [values[place] for place in listed] for name, values in self.fields.items()},
            self.requests.take(chosen),
            self.responses.take(chosen),
        )

    @property
    def body_bytes(self) -> int:
        """Of all bodies together."""
        return sum(int((each.ends - each.starts).sum()) for each in (self.requests, self.responses))


class Run(Protocol[_One_co]):
    """Things that are alike, as columns; one of them is made for who asks."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, place: int) -> _One_co:
        """The one at this place, from 0."""
        ...

    def take(self, chosen: Positions) -> Self:
        """Those at these places."""
        ...


_Run = TypeVar("_Run", bound=Run[Any])


@dataclass(frozen=True, slots=True)
class Mixed(Generic[_Run, _T]):
    """Things in an order: those of runs, each with the places of what it holds, which rise; and all ``others``."""

    runs: Sequence[tuple[Positions, _Run]]
    others: Mapping[int, _T]
    length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.others) + sum(len(run) for _, run in self.runs))

    def __len__(self) -> int:
        return self.length

    def one(self, place: int) -> _T:
        """The one at this place, from the end where it is negative; raises IndexError."""
        if not -self.length <= place < self.length:
            raise IndexError(place)
        place %= self.length
        if place in self.others:
            return self.others[place]
        for places, run in self.runs:
            at = int(np.searchsorted(places, place))
            if at < len(places) and places[at] == place:
                found: _T = run[at]
                return found
        raise IndexError(place)

    def several(self, places: slice) -> list[_T]:
        """Those at these places."""
        return [self.one(place) for place in range(*places.indices(self.length))]

    def only(self, chosen: NDArray[np.bool_]) -> Self:
        """Those that are chosen, in their order."""
        if chosen.all():
            return self
        moved = np.cumsum(chosen) - 1
        runs = [
            (moved[places[kept]], run.take(np.flatnonzero(kept)))
            for places, run in self.runs
            if (kept := chosen[places]).any()
        ]
        return type(self)(runs, {int(moved[place]): one for place, one in self.others.items() if chosen[place]})

    def column(self, of_run: Callable[[_Run], Sequence[_Value]], of_one: Callable[[_T], _Value]) -> Sequence[_Value]:
        """A value of each."""
        others = {place: of_one(one) for place, one in self.others.items()}
        return in_order(self.length, [(places, of_run(run)) for places, run in self.runs], others)


@dataclass(frozen=True, slots=True)
class EventList(Mixed[EventRun, InferenceEvent], Sequence[InferenceEvent]):
    """Events in an order."""

    @overload
    def __getitem__(self, place: int) -> InferenceEvent: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[InferenceEvent]: ...
    def __getitem__(self, place: int | slice) -> InferenceEvent | Sequence[InferenceEvent]:
        return self.several(place) if isinstance(place, slice) else self.one(place)


def in_order(length: int, runs: Sequence[tuple[Positions, Sequence[_T]]], others: Mapping[int, _T]) -> Sequence[_T]:
    """Values of runs, at their places, and all others, as one column.

    >>> in_order(4, [(np.array([0, 3]), ["a", "d"])], {1: "b", 2: "c"})
    ['a', 'b', 'c', 'd']
    """
    if len(runs) == 1 and not others:
        return runs[0][1]
    column = np.empty(length, np.object_)
    for places, values in runs:
        column[places] = _objects(values)
    for place, value in others.items():
        column[place] = value
    found: list[_T] = column.tolist()
    return found


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    found = np.empty(len(values), np.object_)
    found[:] = values  # as it is: NumPy would look into it
    return found
