"""Events that could be read, in the order of their records: as columns where they came in runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.event_runs import EventList, Mixed
from driftline.events import InferenceEvent
from driftline.joined_bytes import Positions
from driftline.record_batches import RecordRun
from driftline.records import Record
from driftline.results import StreamKey

_T = TypeVar("_T")


# A msgspec Struct, not a dataclass: at times one is made for every event, at a tenth of the cost.
class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An event that could be read, with its place in the batch and what it is known by: ``event_id`` and ``time_s``."""

    order: int
    record: Record
    event: InferenceEvent
    stream: StreamKey
    event_id: str
    time_s: float


@dataclass(frozen=True, slots=True)
class ArrivedRun:
    """Many of one partition and stream; ``orders``: their places in the batch, which rise."""

    orders: Positions
    records: RecordRun
    stream: StreamKey
    event_ids: Sequence[str]
    times_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.orders)

    def __getitem__(self, place: int) -> Arrival:
        record = self.records[place]
        event = record.content
        assert isinstance(event, InferenceEvent)  # noqa: S101 - runs hold nothing else
        return Arrival(
            int(self.orders[place]), record, event, self.stream, self.event_ids[place], float(self.times_s[place])
        )

    def take(self, chosen: Positions) -> "ArrivedRun":
        """Those at these places."""
        event_ids = [self.event_ids[place] for place in chosen.tolist()]
        return ArrivedRun(self.orders[chosen], self.records.take(chosen), self.stream, event_ids, self.times_s[chosen])


@dataclass(frozen=True, slots=True)
class Arrivals(Mixed[ArrivedRun, Arrival], Sequence[Arrival]):
    """Arrivals in the order of their records."""

    @classmethod
    def of(cls, runs: Sequence[ArrivedRun], others: Sequence[Arrival]) -> "Arrivals":
        """All of them, by their places in the batch; ``others`` in order."""
        if not others and len(runs) == 1:
            return cls([(np.arange(len(runs[0]), dtype=np.intp), runs[0])], {})
        single = np.array([arrival.order for arrival in others], np.intp)
        orders = np.sort(np.concatenate([single, *(run.orders for run in runs)]))
        places = np.searchsorted(orders, single).tolist()
        return cls([(np.searchsorted(orders, run.orders), run) for run in runs], dict(zip(places, others, strict=True)))

    @overload
    def __getitem__(self, place: int) -> Arrival: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Arrival]: ...
    def __getitem__(self, place: int | slice) -> Arrival | Sequence[Arrival]:
        return self.several(place) if isinstance(place, slice) else self.one(place)

    def take(self, chosen: Sequence[int]) -> "Arrivals":
        """Those at these places, which rise."""
        kept = np.zeros(self.length, np.bool_)
        kept[np.array(chosen, np.intp)] = True
        return self.only(kept)

    # --- columns ------------------------------------------------------------------------------------------------
    def events(self) -> EventList:
        """The events alone."""
        runs = [(places, run.records.events) for places, run in self.runs]
        return EventList(runs, {place: arrival.event for place, arrival in self.others.items()})

    def event_ids(self) -> Sequence[str]:
        """What each is known by."""
        return self.column(lambda run: run.event_ids, lambda arrival: arrival.event_id)

    def request_ids(self) -> Sequence[str]:
        """As they were sent."""
        return self.column(lambda run: run.records.events.request_ids, lambda arrival: arrival.event.request_id)

    def traceparents(self) -> Sequence[str | None]:
        """Where each is in a trace."""

        def of_run(run: ArrivedRun) -> Sequence[str | None]:
            events = run.records.events
            return events.fields.get("traceparent") or [events.like.traceparent] * len(run)

        return self.column(of_run, lambda arrival: arrival.event.traceparent)

    def places(self) -> Sequence[tuple[str, int]]:
        """The partition and offset of each."""

        def of_run(run: ArrivedRun) -> Sequence[tuple[str, int]]:
            return [(run.records.partition, offset) for offset in run.records.offsets.tolist()]

        return self.column(of_run, lambda arrival: (arrival.record.partition, arrival.record.offset))

    def times_s(self) -> NDArray[np.float64]:
        """When each happened."""
        times_s = np.empty(self.length)
        for places, run in self.runs:
            times_s[places] = run.times_s
        for place, arrival in self.others.items():
            times_s[place] = arrival.time_s
        return times_s

    def streams(self) -> tuple[list[StreamKey], NDArray[np.intp]]:
        """The different streams, and which of them each is of."""
        return self._coded(lambda run: run.stream, lambda arrival: arrival.stream)

    def partitions(self) -> tuple[list[str], NDArray[np.intp]]:
        """The different partitions under which they are counted, and which of them each is of."""
        return self._coded(lambda run: run.records.partition, lambda arrival: arrival.record.counted_in)

    def _coded(
        self, of_run: Callable[[ArrivedRun], _T], of_one: Callable[[Arrival], _T]
    ) -> tuple[list[_T], NDArray[np.intp]]:
        numbers: dict[_T, int] = {}
        codes = np.empty(self.length, np.intp)
        for places, run in self.runs:
            codes[places] = numbers.setdefault(of_run(run), len(numbers))
        for place, arrival in self.others.items():
            codes[place] = numbers.setdefault(of_one(arrival), len(numbers))
        return list(numbers), codes
