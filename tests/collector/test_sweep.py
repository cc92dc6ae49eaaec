"""The sweep beside other writers: what one of them is about to join is left to it, and is counted once."""

from collections import Counter

import pytest

from collector.labels.book import LabelBook
from collector.labels.effects import LabelEffects, save_effects
from collector.store.states import StateBook, StateCache
from collector.store.store import Store
from collector.store.waiting import LabelKey, PendingLabel, let_wait
from driftline import names
from tests.collector.helpers import MONITORS, START_S, Parts, drain, event, records


@pytest.mark.real
@pytest.mark.timeout(300)
def test_a_label_that_a_batch_joins_meanwhile_is_not_counted_by_the_sweep(postgres_store: str) -> None:
    parts = Parts(Store(postgres_store, prepare=False))
    drain(parts.collector(records([event(1)])))
    key = LabelKey("default", "flights", "request-1", 0)
    with parts.store.transaction() as transaction:  # two writers passed each other: both are there, and not joined
        let_wait(transaction, [PendingLabel(key, "1", START_S + 3600.0, parts.clock())])
    effects = LabelEffects()
    states = StateBook(StateCache(1))
    with parts.store.transaction() as transaction:
        book = LabelBook(parts.statistics, MONITORS)
        book.join_waiting(transaction, states, "batch", [key], effects)
        parts.collector([]).sweep()
        parts.clock.advance(1e9)  # past its time, too
        parts.collector([]).sweep()
        save_effects(transaction, "batch", effects, states.changed())
    parts.collector([]).sweep()
    outcomes = Counter(
        {labels[2]: value for (metric, labels), value in parts.store.totals().items() if metric == names.LABELS.name}
    )
    parts.store.close()
    assert outcomes == {"joined": 1}
