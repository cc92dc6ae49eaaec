"""Where this collector last saw each partition that it reads, and which records lie behind that."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from collector.store.transaction import PositionMove
from driftline.errors import DriftlineError
from driftline.record_batches import RecordBatch


class Positions:
    """Committed positions, read once and followed; ``read`` looks one up.

    Of ``limit`` partitions, those that moved last: a file is a partition, too, and files have no end.

    >>> positions = Positions({"spool:0": 7}.get, limit=1)
    >>> positions.of("spool:0"), positions.of("spool:1")
    (7, None)
    >>> positions.moved([PositionMove("spool:0", 7, 9), PositionMove("spool:1", None, 3)])
    {'spool:0'}
    """

    def __init__(self, read: Callable[[str], int | None], limit: int = 4096) -> None:
        self._read = read
        self._limit = limit
        self._known: dict[str, int | None] = {}

    def of(self, partition: str) -> int | None:
        """Where the partition was last seen; None: nothing of it was committed yet."""
        if partition not in self._known:
            self._known[partition] = self._read(partition)
        return self._known[partition]

    def moved(self, moves: Iterable[PositionMove]) -> set[str]:
        """These were committed. Answers the partitions that are forgotten for it: trust nothing else of them either."""
        for move in moves:
            self._known.pop(move.partition, None)
            self._known[move.partition] = move.next_offset
        oldest = list(self._known)[: max(0, len(self._known) - self._limit)]
        for partition in oldest:
            del self._known[partition]
        return set(oldest)

    def forget(self) -> None:
        """Believe only the store from now on."""
        self._known.clear()


class StoreWentBackError(DriftlineError):
    """The store knows less of a partition than was committed to it, as after a failover that lost the last moments."""


class HandedOut:
    """How far each partition was read, so that a batch is not taken for the continuation of what the store has lost.

    >>> handed = HandedOut()
    >>> handed.follow({"kafka:a:0": (0, 5)})
    >>> handed.check("kafka:a:0", None)  # the first that is read of a partition may begin anywhere
    >>> handed.follow({"kafka:a:0": (5, 9)})
    >>> handed.check("kafka:a:0", 5)
    >>> handed.check("kafka:a:0", 3)
    Traceback (most recent call last):
    collector.batches.positions.StoreWentBackError: the store is at 3 in 'kafka:a:0', and was at 5 or further
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._read_to: dict[str, int] = {}
        self._begins: dict[str, int] = {}

    def follow(self, read: Mapping[str, tuple[int, int]]) -> None:
        """A batch was read: of each partition from its first offset up to where it goes on."""
        self._begins = {}
        for partition, (first, end) in read.items():
            before = self._read_to.pop(partition, None)
            # Who goes back was sent there, when partitions were dealt anew; it begins where the store said.
            if before is not None and first >= before:
                self._begins[partition] = before
            self._read_to[partition] = end
        for oldest in list(self._read_to)[: max(0, len(self._read_to) - self._limit)]:
            del self._read_to[oldest]

    def check(self, partition: str, position: int | None) -> None:
        """Raise StoreWentBackError when the batch in hand does not go on from this position of the store."""
        begin = self._begins.get(partition, 0)
        if (position or 0) < begin:
            raise StoreWentBackError(f"the store is at {position or 0} in '{partition}', and was at {begin} or further")

    def forget(self) -> None:
        """What is read next may begin anywhere."""
        self._read_to.clear()
        self._begins = {}


def firsts_of(records: RecordBatch) -> dict[str, int]:
    """The first offset of each partition among these records."""
    firsts: dict[str, int] = {}
    for _, run in records.runs:
        first = int(run.offsets.min())
        firsts[run.partition] = min(first, firsts.get(run.partition, first))
    for record in records.others.values():
        firsts[record.partition] = min(record.offset, firsts.get(record.partition, record.offset))
    return firsts


def ends_of(records: RecordBatch) -> dict[str, int]:
    """Where each partition goes on behind these records."""
    ends: dict[str, int] = {}
    for _, run in records.runs:
        ends[run.partition] = max(int(run.offsets.max()) + 1, ends.get(run.partition, -1))
    for record in records.others.values():
        if record.next_offset > ends.get(record.partition, -1):
            ends[record.partition] = record.next_offset
    return ends


def from_positions(records: RecordBatch, position: Callable[[str], int | None]) -> RecordBatch:
    """Those records that lie at or behind their partition's position; None: all of a partition."""
    chosen = np.ones(len(records), np.bool_)
    for places, run in records.runs:
        chosen[places] = run.offsets >= (position(run.partition) or 0)
    for place, record in records.others.items():
        chosen[place] = record.offset >= (position(record.partition) or 0)
    return records.only(chosen)
