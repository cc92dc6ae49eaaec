"""A source that goes back in the middle of a batch, as Kafka's does when partitions are dealt anew, adds no count."""

from collections.abc import Sequence
from dataclasses import dataclass

from collector.labels.effects import DUPLICATE, JOINED
from driftline import names
from driftline.records import Record
from tests.collector.helpers import Parts, drain, event, label, records
from tests.collector.sources.parts import outcomes


@dataclass
class PolledSource:
    """Answers each poll with what it was given for it, then with nothing."""

    polls: list[Sequence[Record]]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        return self.polls.pop(0) if self.polls else []

    def acknowledge(self, partition: str, next_offset: int) -> None:
        pass

    def close(self) -> None:
        pass


def test_records_that_one_batch_was_given_twice_are_counted_once(parts: Parts) -> None:
    events = records([event(1), event(2), event(3)])
    labels = records([label(1, "1"), label(2, "0")], "spool:1")
    drain(parts.collector_of(PolledSource([events[:2], events, labels[:1], labels])))
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 3}
    assert outcomes(parts.store, names.LABELS) == {JOINED: 2}
    assert (parts.store.position("spool:0"), parts.store.position("spool:1")) == (30, 20)


def test_records_that_a_later_batch_has_again_under_other_offsets_are_copies(parts: Parts) -> None:
    first, again = records([event(1), label(1, "1")]), records([event(1), label(1, "1")], "spool:1")
    drain(parts.collector_of(PolledSource([first, again])))
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 1, "duplicate": 1}
    assert outcomes(parts.store, names.LABELS) == {JOINED: 1, DUPLICATE: 1}
