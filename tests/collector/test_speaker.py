"""Of several collectors over one store one at a time shows its counters."""

from prometheus_client import CollectorRegistry

from collector.labels.completeness import LabelGauges
from collector.operating.metrics import StoreCounters
from collector.operating.speaker import Speaker
from collector.store.store import Store
from driftline import names
from tests.collector.helpers import Parts, drain, event, records

EVENTS = {"namespace": "default", "model": "flights", "version": "3", "variant": "stable", "outcome": "stored"}


def scraped(parts: Parts, store: Store, speaker: Speaker) -> float | None:
    registry = CollectorRegistry()
    registry.register(StoreCounters(store, parts.clock, speaker.speaks))
    registry.register(LabelGauges(store, parts.monitors, parts.clock, speaker.speaks))
    waiting = registry.get_sample_value(names.LABELS_WAITING.name, {"namespace": "default", "model": "flights"})
    stored = registry.get_sample_value(names.COLLECTOR_EVENTS.name, {**EVENTS, "reason": ""})
    assert (waiting is None) == (stored is None)
    return stored


def test_one_of_two_shows_the_store_and_the_other_follows_when_it_ends(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(1), event(2)])))
    beside = Store(url)
    first, second = Speaker(parts.store), Speaker(beside)
    assert [scraped(parts, parts.store, first), scraped(parts, beside, second)] == [2.0, None]
    assert [scraped(parts, parts.store, first), scraped(parts, beside, second)] == [2.0, None]
    second.close()  # it is not its to give back
    assert [scraped(parts, parts.store, first), scraped(parts, beside, second)] == [2.0, None]
    first.close()
    assert [scraped(parts, beside, second), scraped(parts, parts.store, first)] == [2.0, None]
    beside.close()


def test_one_that_is_not_asked_any_more_is_succeeded(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(1)])))
    beside = Store(url)
    gone, second = Speaker(parts.store, for_s=-1.0), Speaker(beside)  # its time is over as soon as it has spoken
    assert scraped(parts, parts.store, gone) == 1.0
    assert scraped(parts, beside, second) == 1.0
    assert scraped(parts, parts.store, gone) is None
    beside.close()


def test_while_the_store_is_away_the_one_that_spoke_goes_on(parts: Parts, url: str) -> None:
    beside = Store(url)
    first, second = Speaker(parts.store), Speaker(beside)
    assert [first.speaks(), second.speaks()] == [True, False]
    with parts.store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE leases")
    assert [first.speaks(), second.speaks()] == [True, False]
    first.close()
    beside.close()
