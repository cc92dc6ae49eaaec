"""What the collector needs from other rooms; the roof passes it in."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from driftline.columns import ColumnBatch, JudgedBatch
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from driftline.records import Record


class RecordSource(Protocol):
    """An ordered, replayable stream in partitions."""

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records, waiting up to ``timeout_s`` for the first; raises UnavailableError."""
        ...

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Everything before ``next_offset`` is committed; a source may forget it."""
        ...

    def close(self) -> None:
        """Let go of the stream."""
        ...


class Decoder(Protocol):
    """Turns the payload of an event into columns."""

    def __call__(self, event: InferenceEvent, monitor: Monitor) -> ColumnBatch:
        """The rows of one event (none for an error answer); raises DecodeError."""
        ...


class WindowStatistics(Protocol):
    """Arithmetic over opaque, mergeable window states; ``state`` None is an empty window."""

    def observe(self, monitor: Monitor, state: bytes | None, rows: ColumnBatch) -> bytes:
        """The state after ``rows``."""
        ...

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        """The state after labels."""
        ...

    def outlier_scores(self, monitor: Monitor, rows: ColumnBatch) -> NDArray[np.float64]:
        """One score per row, NaN where there is none."""
        ...
