"""A source that goes back in the middle of a batch, as Kafka's does when partitions are dealt anew, adds no count."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from collector.batches.loop import Collector
from collector.batches.positions import StoreWentBackError
from collector.labels.effects import DUPLICATE, JOINED
from collector.store import schema
from driftline import names
from driftline.errors import TransientError
from driftline.records import Record
from driftline.testing import ListSource, OneWay
from tests.collector.helpers import Parts, drain, event, label, records, tables
from tests.collector.sources.parts import outcomes


@dataclass
class PolledSource(OneWay):
    """Answers each poll with what it was given for it, then with nothing."""

    polls: list[Sequence[Record]]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        return self.polls.pop(0) if self.polls else []


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


class GoingOn(ListSource):
    """A source that cannot be sent back to where the store says."""

    def go_back(self, partition: str) -> bool:
        return False


def behind_a_loss(parts: Parts, source: ListSource, events: list[Record]) -> Collector:
    """A collector of ``source`` that read 40 of the events, of whose database the last 15 were lost, and that goes on.

    As after a failover to a standby that had not heard of the last moments: position and rows.
    """
    source.items = events[:40]
    collector = parts.collector_of(source)
    drain(collector)
    with parts.store.transaction() as transaction:
        gone = schema.predictions.c.event_id >= "event-000025"
        transaction.connection.execute(schema.predictions.delete().where(gone))
        transaction.connection.execute(update(schema.positions).values(next_offset=250))
    source.items = events
    with pytest.raises(TransientError, match="moved on"):
        drain(collector)
    return collector


def test_a_store_that_lost_its_last_moments_is_given_them_again(parts: Parts, url: str) -> None:
    events = records([event(number) for number in range(60)])
    collector = behind_a_loss(parts, ListSource([], parts.store.position), events)
    drain(collector)  # notices it
    drain(collector)
    assert parts.store.position("spool:0") == 600
    assert len(tables(url)["predictions"]) == 60


def test_a_source_that_cannot_go_back_ends_the_consumer_rather_than_leave_a_gap(parts: Parts) -> None:
    events = records([event(number) for number in range(60)])
    collector = behind_a_loss(parts, GoingOn([], parts.store.position), events)
    with pytest.raises(StoreWentBackError, match="the store is at 250 in 'spool:0', and was at 400"):
        drain(collector)
    assert parts.store.position("spool:0") == 250
