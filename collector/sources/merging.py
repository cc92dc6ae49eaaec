"""Several sources as one: each has its share of a batch, and what one of them does not use, another may."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from collector.ports import RecordSource
from driftline.errors import TransientError
from driftline.record_batches import RecordBatch
from driftline.records import Reach, Record

_SLICE_S = 0.05
_PAUSE_S = 1.0


class MergedSource:
    """A ``RecordSource`` of a main source and others beside it.

    The others are asked without waiting, each for its share; the main one has the rest, and is waited for in slices.
    One of the others that is away is left alone for a second and told to ``failed``; the main one's error is raised.
    Of the ``remembered`` partitions read last, more than any batch has, it is known whose they are: a file is a
    partition, too, and files have no end.
    """

    def __init__(
        self,
        main: RecordSource | None,
        others: Sequence[RecordSource],
        failed: Callable[[TransientError], None],
        *,
        remembered: int = 50_000,
    ) -> None:
        self._main = main
        self._others = list(others)
        self._failed = failed
        self._owners: dict[str, RecordSource] = {}
        self._remembered = remembered
        self._paused_until = [0.0] * len(self._others)

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records of all sources, waiting up to ``timeout_s`` for the first."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self._poll_others(max_records)
            left_s = deadline - time.monotonic()
            wait_s = 0.0 if any(found) else max(0.0, min(_SLICE_S, left_s))
            if self._main is None:
                if not any(found):
                    time.sleep(wait_s)
            elif _count(found) < max_records:
                found += self._poll_main(self._main, max_records - _count(found), wait_s, alone=not any(found))
            if any(found) or left_s <= 0:
                return RecordBatch.of([part for part in found if part])

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Tell the source that the partition is of; lanes are of none."""
        owner = self._owners.get(partition)
        if owner is not None:
            owner.acknowledge(partition, next_offset)

    def go_back(self, partition: str) -> bool:
        """Have a partition read again from where the store says; whether its source can."""
        owner = self._owners.get(partition)
        return owner is not None and owner.go_back(partition)

    def held(self) -> Mapping[str, str]:
        """What every source says."""
        return {partition: told for source in self._sources() for partition, told in source.held().items()}

    def lag(self) -> Mapping[str, int]:
        """What every source says."""
        return {partition: left for source in self._sources() for partition, left in source.lag().items()}

    def elsewhere(self) -> Mapping[str, Reach]:
        """What every source says."""
        return {partition: reach for source in self._sources() for partition, reach in source.elsewhere().items()}

    def close(self) -> None:
        """Let go of all."""
        for source in self._sources():
            source.close()

    def _poll_others(self, max_records: int) -> list[Sequence[Record]]:
        found: list[Sequence[Record]] = []
        share = max(1, max_records // (len(self._others) + (self._main is not None) or 1))
        for number, source in enumerate(self._others):
            if _count(found) >= max_records or time.monotonic() < self._paused_until[number]:
                continue
            try:
                found.append(self._own(source, source.poll(min(share, max_records - _count(found)), 0.0)))
            except TransientError as error:
                self._paused_until[number] = time.monotonic() + _PAUSE_S
                self._failed(error)
        return found

    def _poll_main(self, main: RecordSource, max_records: int, wait_s: float, *, alone: bool) -> list[Sequence[Record]]:
        """Raises TransientError where nothing else was found: the others have gone past what they gave."""
        try:
            return [self._own(main, main.poll(max_records, wait_s))]
        except TransientError as error:
            if alone:
                raise
            self._failed(error)
            return []

    def _own(self, source: RecordSource, records: Sequence[Record]) -> Sequence[Record]:
        for partition in RecordBatch.of([records]).partitions():
            self._owners.pop(partition, None)
            self._owners[partition] = source
        for oldest in list(islice(self._owners, max(0, len(self._owners) - self._remembered))):
            del self._owners[oldest]
        return records

    def _sources(self) -> list[RecordSource]:
        return [*self._others, *([] if self._main is None else [self._main])]


def _count(parts: Sequence[Sequence[Record]]) -> int:
    return sum(map(len, parts))
