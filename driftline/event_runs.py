"""Many events at once: runs of those that have nearly everything in common, kept as columns of what they differ in.

An event is made of a run only for those who ask for it; most look at columns alone. Like ``driftline.columns`` it needs
NumPy; the sidecar does not import it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.events import InferenceEvent
from driftline.joined_bytes import JoinedBytes, Positions

_T = TypeVar("_T")


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


@dataclass(frozen=True, slots=True)
class EventList(Sequence[InferenceEvent]):
    """Events in an order: those of runs, each with the places that its events have in the list, and all ``others``."""

    runs: Sequence[tuple[Positions, EventRun]]
    others: Mapping[int, InferenceEvent]
    length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.others) + sum(len(run) for _, run in self.runs))

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, place: int) -> InferenceEvent: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[InferenceEvent]: ...
    def __getitem__(self, place: int | slice) -> InferenceEvent | Sequence[InferenceEvent]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self.length))]
        if not -self.length <= place < self.length:
            raise IndexError(place)
        place %= self.length
        if place in self.others:
            return self.others[place]
        run, at = find_run(self.runs, place)
        return run[at]

    def column(
        self, of_run: Callable[[EventRun], Sequence[_T]], of_event: Callable[[InferenceEvent], _T]
    ) -> Sequence[_T]:
        """A value of each event."""
        others = {place: of_event(event) for place, event in self.others.items()}
        return in_order(self.length, [(places, of_run(run)) for places, run in self.runs], others)


def find_run(runs: Iterable[tuple[Positions, _T]], place: int) -> tuple[_T, int]:
    """The run that has something at this place, and where; its places rise."""
    for places, run in runs:
        at = int(np.searchsorted(places, place))
        if at < len(places) and places[at] == place:
            return run, at
    raise IndexError(place)


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
