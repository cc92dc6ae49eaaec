"""What a batch of records holds, once it is read: events with their rows, labels, what cannot be used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.batches.arrivals import Arrival, Arrivals
from collector.store.transaction import DeadLetter
from driftline.columns import ColumnBatch
from driftline.events import Label
from driftline.monitors import Monitor
from driftline.results import StreamKey


@dataclass(frozen=True, slots=True)
class MonitorEvents:
    """The events of one monitor that could be read, and all their rows, one under the other.

    ``owners``: for each row its event, as its place in ``arrivals``; ``rows``: its place within its request;
    ``counts``: how many rows each event has, none where nothing was predicted.
    """

    monitor: Monitor
    arrivals: Arrivals
    columns: ColumnBatch
    owners: NDArray[np.intp]
    rows: NDArray[np.intp]
    counts: Sequence[int]

    def rows_of(self, place: int) -> ColumnBatch:
        """The rows of the event at ``place``."""
        return self.columns.take(np.flatnonzero(self.owners == place))

    def numbers_of(self, place: int) -> list[int]:
        """The places of these rows within their request; not all of them where some were erased."""
        numbers: list[int] = self.rows[self.owners == place].tolist()
        return numbers


@dataclass(frozen=True, slots=True)
class LabelArrival:
    """A label with its place in the batch."""

    order: int
    partition: str
    label: Label


class Rejected(NamedTuple):
    """What becomes a dead letter, the stream it is counted under, and how many events it stands for."""

    letter: DeadLetter
    stream: StreamKey
    events: int = 1


@dataclass(slots=True)
class Intake:
    """What a batch of records holds; ``duplicates``: the streams of events that were stored before."""

    monitors: list[MonitorEvents] = field(default_factory=list)
    labels: list[LabelArrival] = field(default_factory=list)
    dead: list[Rejected] = field(default_factory=list)
    duplicates: list[tuple[str, StreamKey]] = field(default_factory=list)
    #: Events of what was erased: none of them is kept, and those of ``thinned`` without some of their rows.
    erased: list[Arrival] = field(default_factory=list)
    thinned: list[tuple[Arrival, int]] = field(default_factory=list)

    def arrivals(self) -> Iterator[Arrival]:
        """Every event that could be read."""
        for found in self.monitors:
            yield from found.arrivals
