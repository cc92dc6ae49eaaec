"""Records of a stream in order, those of events that are alike as runs (``driftline.event_runs``).

A record of a run is made when it is indexed; most readers use the columns of runs, and ``others``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from driftline.event_runs import EventRun, Mixed
from driftline.joined_bytes import Positions
from driftline.records import Record


@dataclass(frozen=True, slots=True)
class RecordRun:
    """Records of one partition with an event each."""

    partition: str
    offsets: NDArray[np.int64]
    events: EventRun

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, place: int) -> Record:
        offset = int(self.offsets[place])
        return Record(self.partition, offset, offset + 1, self.events[place])

    def take(self, chosen: Positions) -> "RecordRun":
        """The records at these places."""
        return RecordRun(self.partition, self.offsets[chosen], self.events.take(chosen))


@dataclass(frozen=True, slots=True)
class RecordBatch(Mixed[RecordRun, Record], Sequence[Record]):
    """Records in order."""

    @classmethod
    def of(cls, parts: Sequence[Sequence[Record]]) -> "RecordBatch":
        """Records of several sequences, one after the other."""
        if len(parts) == 1 and isinstance(parts[0], RecordBatch):
            return parts[0]
        runs: list[tuple[Positions, RecordRun]] = []
        others: dict[int, Record] = {}
        at = 0
        for part in parts:
            if isinstance(part, RecordBatch):
                runs += [(places + at, run) for places, run in part.runs]
                others.update({place + at: record for place, record in part.others.items()})
            else:
                others.update(enumerate(part, at))
            at += len(part)
        return cls(runs, others)

    def __iter__(self) -> Iterator[Record]:
        for place in range(self.length):
            yield self.one(place)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> "RecordBatch": ...
    def __getitem__(self, place: int | slice) -> "Record | RecordBatch":
        if isinstance(place, slice):
            chosen = np.zeros(self.length, np.bool_)
            chosen[place] = True
            return self.only(chosen)
        return self.one(place)

    def apart(self, chosen: NDArray[np.bool_]) -> "RecordBatch":
        """The same records, those that are chosen without a run."""
        runs = []
        others = dict(self.others)
        for places, run in self.runs:
            leaves = chosen[places]
            if not leaves.any():
                runs.append((places, run))
                continue
            others.update({int(places[at]): run[at] for at in np.flatnonzero(leaves).tolist()})
            if not leaves.all():
                runs.append((places[~leaves], run.take(np.flatnonzero(~leaves))))
        return RecordBatch(runs, dict(sorted(others.items())))

    def partitions(self) -> set[str]:
        """The names of all partitions."""
        return {run.partition for _, run in self.runs} | {record.partition for record in self.others.values()}
