"""Completeness balances whatever came: whole events, halves with and without the other, and events that are gone."""

from driftline import names
from driftline.completeness import Sample, balance_of
from driftline.records import Malformed
from tests.collector.helpers import MONITOR, Parts, drain, event, records
from tests.collector.sources.parts import halves, list_collector, pairing_collector
from tests.collector.sources.test_joining import waiting_room

_SHOWN = {metric.name: metric for metric in (names.COLLECTOR_EVENTS, names.HALVES)}


def _samples(parts: Parts, logged: int) -> list[Sample]:
    """What one sidecar and the store would show."""
    captured = {names.NAMESPACE: "default", names.MODEL: "flights", names.OUTCOME: "logged", names.REASON: ""}
    found = [
        Sample(names.SIDECAR_REQUESTS.name, captured, float(logged)),
        Sample(names.CAPTURE_EVENTS.name, captured, float(logged)),
    ]
    for key, value in parts.store.totals().items():
        if key.metric in _SHOWN:
            labels = dict(zip(_SHOWN[key.metric].labels, key.labels, strict=True))
            found.append(Sample(key.metric, labels, float(value)))
    return found


def test_a_record_that_stands_for_several_events_counts_as_so_many(parts: Parts) -> None:
    lost = Malformed("spool_overwritten", "3 events were overwritten", b"", 3)
    drain(parts.collector(records([event(1), lost, event(2, model="nobody")])))
    balance = balance_of(_samples(parts, logged=5))
    assert balance.closes
    assert balance.models["unknown/unknown"].undecodable == {"spool_overwritten": 3}
    assert len(parts.store.dead_letters(10)) == 2


def test_halves_that_no_sidecar_logged_are_neither_missing_nor_too_many(parts: Parts) -> None:
    pairing = MONITOR.pairing.model_copy(update={"unpaired_requests": "drop"})
    dropping = MONITOR.model_copy(update={"model": "strict", "pairing": pairing})
    parts.monitors = {MONITOR.name: MONITOR, dropping.name: dropping}
    alone = [halves(3)[0], halves(4)[1], halves(5, model="nobody")[0], halves(6, model="strict")[0]]
    drain(list_collector(parts, records([event(1), *halves(2), *alone, *halves(7, model="nobody")])))
    parts.clock.advance(MONITOR.pairing.timeout)
    drain(pairing_collector(parts, waiting_room(parts)))
    balance = balance_of(_samples(parts, logged=1))
    assert balance.halves["dropped"] == 1
    assert balance.joined == 6  # a pair, a request, an answer, and three halves of a model without a monitor
    assert (balance.missing, balance.closes) == (0, True)
