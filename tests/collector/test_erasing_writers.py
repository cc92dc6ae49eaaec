"""Erasing while several collectors write: who wrote first is erased, who comes later is told. On PostgreSQL alone,
because SQLite has one writer at a time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from collector.batches.loop import Collector
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import FILES, Eraser, Selector
from collector.settings import CollectorSettings
from collector.store.store import Store
from collector.store.waiting import LabelKey, PendingLabel, let_wait
from driftline import names
from driftline.columns import JudgedBatch
from driftline.errors import TransientError
from driftline.monitors import Monitor
from tests.collector.helpers import START_S, CountingStatistics, Parts, drain, erasures, event, label, records, tables
from tests.collector.sources.parts import outcomes
from tests.collector.test_erasure import ANNA, CUSTOMER, customers
from tests.parts.processes import wait_until

LIMIT_S = 120.0
SELECTOR = Selector("default", "flights", "request_id", "request-2")


class Pausing(CountingStatistics):
    """Waits where a label is judged: in the middle of a transaction that has asked what was erased."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        self.reached.set()
        assert self.go_on.wait(LIMIT_S)
        return super().judge(monitor, state, judged)


@contextmanager
def writing(url: str, partition: str, numbers: Sequence[int], at_once: int = 50) -> Iterator[tuple[Pausing, Collector]]:
    """A collector of an event of request-7, and of events of request-2 and a label: its statistics, and itself."""
    store, statistics = Store(url, prepare=False), Pausing()
    settings = CollectorSettings(minimum_batch_records=at_once, maximum_batch_records=at_once)
    other = event(7, event_id=f"{partition}-other")
    made = [event(number, event_id=f"{partition}-{number}", request_id="request-2") for number in numbers]
    parts = Parts(store, statistics=statistics, settings=settings)
    yield statistics, parts.collector(records([other, *made, label(2, 1)], partition))
    store.close()


def waiting_for(store: Store, mode: str) -> int:
    """How many wait for the table of what was erased, in this lock mode."""
    statement = "SELECT count(*) FROM pg_locks WHERE relation = 'erased'::regclass AND mode = :mode AND NOT granted"
    return store.read(lambda connection: int(connection.execute(text(statement), {"mode": mode}).scalar_one()))


@pytest.mark.real
def test_two_writers_at_once_are_waited_for_and_a_third_is_told(postgres_store: str) -> None:
    store = Store(postgres_store, prepare=False)
    eraser = Eraser(store, SubjectHasher(), Parts(store).clock, None)
    with (
        writing(postgres_store, "spool:0", [1]) as (first, one),
        writing(postgres_store, "spool:1", [1, 2, 3]) as (second, two),
        writing(postgres_store, "spool:2", [1], at_once=1) as (third, three),
        ThreadPoolExecutor(4) as threads,
    ):
        assert three.run_once() == 1  # from here on it asks in the middle of its transactions only
        writers = [threads.submit(one.run_once), threads.submit(two.run_once)]
        for each in (first, second):
            wait_until(each.reached.is_set, LIMIT_S, "both have written and not committed")
        erasing = threads.submit(eraser.erase, SELECTOR, "somebody")
        wait_until(lambda: waiting_for(store, "AccessExclusiveLock") == 1, LIMIT_S, "the eraser waits for them")
        late = threads.submit(three.run_once)
        wait_until(lambda: waiting_for(store, "AccessShareLock") == 1, LIMIT_S, "the third waits for the eraser")
        first.go_on.set()
        assert writers[0].result(LIMIT_S) == 3
        assert not erasing.done()  # the other one still writes
        second.go_on.set()
        assert writers[1].result(LIMIT_S) == 5
        removed = erasing.result(LIMIT_S).removed
        assert (removed["predictions"], removed["labels"]) == (4, 2)
        with pytest.raises(TransientError, match="erased meanwhile"):
            late.result(LIMIT_S)
        assert drain(three) == 2
        assert not third.reached.is_set()
    assert {row["request_id"] for row in map(dict, tables(postgres_store)["predictions"])} == {"request-7"}
    assert tables(postgres_store)["labels"] == []
    assert outcomes(store, names.COLLECTOR_EVENTS) == {"stored": 7, "erased": 1}
    assert outcomes(store, names.LABELS) == {"joined": 2, "erased": 1}
    store.close()


def erase_while(store: Store, selector: Selector, statistics: Pausing, write: Callable[[], object]) -> None:
    """Erase; ``write`` begins once the erasure is remembered, and has not committed when rows are to go."""
    eraser = Eraser(store, SubjectHasher(), Parts(store).clock, None)
    with ThreadPoolExecutor(2) as threads:
        with store.transaction() as transaction:
            transaction.lock_partition(FILES)  # where the eraser waits, before it looks for rows
            erasing = threads.submit(eraser.erase, selector, "somebody")
            wait_until(lambda: erasures(store) == 1, LIMIT_S, "the erasure is remembered")
            writing = threads.submit(write)
            wait_until(statistics.reached.is_set, LIMIT_S, "a label is joined and not committed")
        wait_until(lambda: erasing.done() or anybody_waits(store), LIMIT_S, "the eraser went on, or waits")
        statistics.go_on.set()
        writing.result(LIMIT_S)
        erasing.result(LIMIT_S)


def anybody_waits(store: Store) -> bool:
    """Whether a transaction waits for another one."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return store.read(lambda connection: bool(connection.execute(statement).scalar_one()))


@pytest.mark.real
def test_a_label_that_is_joined_to_a_row_that_goes_leaves_nothing_behind(postgres_store: str) -> None:
    """The row is known by whom it is about, the label by a request id that nobody erased."""
    store, statistics = Store(postgres_store, prepare=False), Pausing()
    parts = Parts(store, statistics=statistics, monitors={CUSTOMER.name: CUSTOMER})
    drain(parts.collector(records([customers(2, ANNA)])))  # type: ignore[list-item]
    labelling = parts.collector(records([label(2, 1)], "spool:1"))
    erase_while(store, Selector("default", "flights", "subject", ANNA), statistics, labelling.run_once)
    assert (tables(postgres_store)["predictions"], tables(postgres_store)["labels"]) == ([], [])
    store.close()


@pytest.mark.real
def test_a_label_that_the_sweep_joins_to_a_row_that_goes_leaves_nothing_behind(postgres_store: str) -> None:
    store, statistics = Store(postgres_store, prepare=False), Pausing()
    parts = Parts(store, statistics=statistics)
    drain(parts.collector(records([event(2)])))
    with store.transaction() as transaction:  # two writers passed each other
        key = LabelKey("default", "flights", "request-2", 0)
        let_wait(transaction, [PendingLabel(key, "1", START_S + 3600.0, parts.clock())])
    erase_while(store, SELECTOR, statistics, parts.collector([]).sweep)
    found = tables(postgres_store)
    assert (found["predictions"], found["labels"], found["labels_pending"]) == ([], [], [])
    store.close()
