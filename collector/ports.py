"""What the collector needs from other rooms; the roof passes it in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from collector.store.transaction import Transaction
from driftline.columns import ColumnBatch, DecodedBatch, JudgedBatch
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from driftline.records import Reach, Record


class RecordSource(Protocol):
    """An ordered, replayable stream in partitions."""

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records, waiting up to ``timeout_s`` for the first; raises UnavailableError."""
        ...

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Everything before ``next_offset`` is committed; a source may forget it."""
        ...

    def go_back(self, partition: str) -> bool:
        """Give what the store has not of a partition, though it was given before; False: it cannot, nothing changed."""
        ...

    def held(self) -> Mapping[str, str]:
        """The partitions that are not read until people do something, each with a sentence that says what."""
        ...

    def lag(self) -> Mapping[str, int]:
        """What lies between the next record and the end, by partition, in a unit of its own.

        Raises UnavailableError where nobody says.
        """
        ...

    def elsewhere(self) -> Mapping[str, Reach]:
        """How far partitions are that others have to read, beside this one; raises UnavailableError."""
        ...

    def close(self) -> None:
        """Let go of the stream."""
        ...


class BatchDecoder(Protocol):
    """Turns the payloads of many events into columns."""

    def __call__(self, events: Sequence[InferenceEvent], monitor: Monitor) -> DecodedBatch:
        """The rows of all events of one monitor, and the events that cannot be read.

        Never raises for what they hold.
        """
        ...


class WindowStatistics(Protocol):
    """Arithmetic over opaque, mergeable window states; ``state`` None is an empty window."""

    def observe(
        self, monitor: Monitor, state: bytes | None, rows: ColumnBatch, outlier_scores: NDArray[np.float64]
    ) -> bytes:
        """The state after ``rows``, which have these outlier scores (of :meth:`outlier_scores`)."""
        ...

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        """The state after labels."""
        ...

    def judge_many(
        self, monitor: Monitor, states: Sequence[bytes | None], judged: JudgedBatch, counts: Sequence[int]
    ) -> list[bytes]:
        """Several states, each after its labels: the first ``counts[0]`` of ``judged`` for the first, and so on."""
        ...

    def answers(self, monitor: Monitor) -> Sequence[str]:
        """The classes that the model was seen to answer with; none where nobody knows."""
        ...

    def outlier_scores(self, monitor: Monitor, rows: ColumnBatch) -> NDArray[np.float64]:
        """One score per row, NaN where there is none."""
        ...


class BatchPart(Protocol):
    """Something that is written in the transaction of a batch."""

    def write(self, transaction: Transaction) -> None:
        """Write it; raises TransientError when another writer was first, and then nothing of the batch is written."""
        ...


@dataclass(frozen=True, slots=True)
class JoinedBatch:
    """Records that hold events, labels and malformed ones only, and what joining them leaves in the store."""

    records: Sequence[Record]
    part: BatchPart


class HalfJoiner(Protocol):
    """Pairs requests and answers that came as events of their own, and takes apart records of several things."""

    def join(self, records: Sequence[Record], now_s: float) -> JoinedBatch:
        """The same for the same records and store: nothing is remembered between two calls."""
        ...
