"""One sink's way: gather a batch from the spool, deliver it however often that must be tried, move the position.

The position moves only after every event before it was acknowledged or refused for good, so that a crash repeats events
and never loses one; readers recognise repetitions by the event's id. While a sink is away the spool is the buffer.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from driftline.errors import TransientError
from driftline.records import Malformed, Record
from logger_sidecar.shipping.meters import SinkMeters
from logger_sidecar.shipping.sinks import Sink, Taken

_log = logging.getLogger("driftline.shipper")
_POLL_S = 0.25
#: How often it is looked, while a batch is waited for, whether it is full or the end has begun.
_GATHER_S = 0.1

KeepOn = Callable[[], bool]


class Source(Protocol):
    """Where events come from."""

    partition: str

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """The next records."""

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """They are delivered up to here."""

    def lag(self) -> Mapping[str, int]:
        """Bytes not yet read."""


class BatchPlans(Protocol):
    """Remembers where the batch that is being delivered ends, so that a repetition is the very same batch."""

    def planned_end(self, first_offset: int) -> int | None:
        """Where the batch that begins here was to end; None when none was begun here."""

    def plan(self, first_offset: int, end_offset: int) -> None:
        """Remember that this batch is being delivered."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between tries: from ``first_s``, doubling up to ``longest_s``.

    ``jitter``: a share in [0, 1); each pause is between half of its length and all of it, so that many sidecars do not
    come back to a broker at one moment. ``sleep``: waits the given seconds, less when the end begins.
    """

    first_s: float
    longest_s: float
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def pause(self, seconds: float) -> float:
        """Wait; returns the length of the next pause."""
        self.sleep(seconds * (0.5 + 0.5 * self.jitter()))
        return min(seconds * 2, self.longest_s)


class Shipper:
    """Moves records from a source to a sink until told to stop.

    ``plans``: given where a repeated batch must be exactly the batch that it repeats.
    """

    def __init__(
        self, source: Source, sink: Sink, meters: SinkMeters, backoff: Backoff, plans: BatchPlans | None = None
    ) -> None:
        self._source = source
        self._sink = sink
        self._meters = meters
        self._backoff = backoff
        self._plans = plans
        #: Read from the source and not yet part of a batch.
        self._ahead: list[Record] = []

    def run(self, goes_on: KeepOn, may_drain: KeepOn) -> bool:
        """Ship while ``goes_on``, then what is left while ``may_drain``; False when something is left."""
        while goes_on():
            # A batch that the sink has not taken when the end begins is tried on within the drain time.
            self.ship_batch(_POLL_S, may_drain, goes_on)
        return self.drain(may_drain)

    def drain(self, keep_on: KeepOn) -> bool:
        """Ship what is there now; False when ``keep_on`` said no before all was delivered."""
        while keep_on():
            if not self.ship_batch(0.0, keep_on, _never):
                return keep_on() and not self._ahead and not any(self._source.lag().values())
        return False

    def ship_batch(self, timeout_s: float, keep_on: KeepOn, gather_on: KeepOn) -> bool:
        """Deliver the next batch, however often that must be tried; False when there was none or the time was over.

        ``gather_on``: whether a batch may still be waited for to grow.
        """
        batch = self._gather(timeout_s, gather_on)
        if not batch:
            return False
        first, end = batch[0].offset, batch[-1].next_offset
        if self._plans is not None:
            self._plans.plan(first, end)
        events = [record.content for record in batch if isinstance(record.content, Taken)]
        if events and not self._deliver(events, keep_on):
            self._ahead[:0] = batch
            return False
        if len(events) < len(batch):
            for record in batch:
                self._count_unreadable(record)
        self._source.acknowledge(self._source.partition, end)
        self._show(self._ahead)
        return True

    def _gather(self, timeout_s: float, gather_on: KeepOn) -> list[Record]:
        bounds, batch, self._ahead = self._sink.bounds, self._ahead, []
        if not batch:
            batch.extend(self._source.poll(bounds.max_events, timeout_s))
        if not batch:
            return []
        until_s = time.monotonic() + bounds.max_wait_s
        end = self._plans.planned_end(batch[0].offset) if self._plans is not None else None
        while (count := _count_within(batch, bounds.max_events, bounds.max_bytes, end)) is None:
            self._show(batch)
            # What comes meanwhile is read now and then, all at once: each look costs more than a few events.
            left_s = until_s - time.monotonic()
            waits = left_s > 0 and end is None and gather_on()
            if waits:
                time.sleep(min(_GATHER_S, left_s))
            more = self._source.poll(bounds.max_events, 0.0)
            batch.extend(more)
            if not waits and (not more or (bounds.max_wait_s and end is None)):
                count = _count_within(batch, bounds.max_events, bounds.max_bytes, end) or len(batch)
                break
        self._show(batch)
        self._ahead = batch[count:]
        return batch[:count] if self._ahead else batch

    def _show(self, batch: Sequence[Record]) -> None:
        meters = self._meters
        meters.inflight_bytes = batch[-1].next_offset - batch[0].offset if batch else 0
        meters.oldest_s = next((one.content.time_s for one in batch if isinstance(one.content, Taken)), None)

    def _count_unreadable(self, record: Record) -> None:
        content = record.content
        if isinstance(content, Malformed):
            self._meters.fail(content.reason, content.events)
        elif not isinstance(content, Taken):
            self._meters.fail("not_an_inference")

    def _deliver(self, events: Sequence[Taken], keep_on: KeepOn) -> bool:
        pause_s, meters = self._backoff.first_s, self._meters
        while keep_on():
            began_s = time.monotonic()
            try:
                refused = self._sink.deliver(events)
            except TransientError as error:
                self._is_away(str(error))
            except Exception as error:  # noqa: BLE001 - a fault of the sink or of its library; no event is lost for that
                self._is_away(f"{type(error).__name__}: {error}")
            else:
                self._is_back()
                meters.delivery(time.monotonic() - began_s, len(events) - len(refused))
                for reason in refused.values():
                    meters.fail(reason)
                return True
            pause_s = self._backoff.pause(pause_s)
        return False

    def _is_away(self, fault: str) -> None:
        if self._meters.is_reachable:
            _log.warning("sink %s: %s; the spool keeps the events until it is back", self._sink.name, fault)
        self._meters.fault = fault
        self._meters.is_reachable = False

    def _is_back(self) -> None:
        if not self._meters.is_reachable:
            _log.warning("sink %s takes events again", self._sink.name)
        self._meters.fault = ""
        self._meters.is_reachable = True


def _count_within(batch: Sequence[Record], max_events: int, max_bytes: int, end: int | None) -> int | None:
    """How many records from the front make a full batch; None when they do not fill one."""
    if end is not None:
        return next((index + 1 for index, one in enumerate(batch) if one.next_offset >= end), None)
    if len(batch) <= max_events and batch[-1].next_offset - batch[0].offset <= max_bytes:
        return max_events if len(batch) == max_events else None
    size = 0
    for index, one in enumerate(batch):
        size += one.next_offset - one.offset
        if index and size > max_bytes:
            return index
        if index + 1 >= max_events:
            return max_events
    return None


def _never() -> bool:
    return False
