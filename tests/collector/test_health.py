"""Health tells a stuck consumer from an idle one, and from one that waits for a part that is away."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from collector.operating.activity import Activity
from collector.operating.health import Health
from collector.operating.metrics import ConsumerFigures, StoreCounters
from driftline import names
from driftline.errors import UnavailableError
from driftline.records import Record
from driftline.testing import ListSource, ManualClock
from tests.collector.helpers import START_S, Parts, drain, event, records
from tests.parts.processes import wait_until

LIMIT_S = 60.0


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    """One that lives."""
    done = threading.Event()
    living = threading.Thread(target=done.wait)
    living.start()
    yield living
    done.set()
    living.join()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def activity(clock: ManualClock) -> Activity:
    return Activity(clock)


def state(activity: Activity, thread: threading.Thread) -> tuple[str, bool]:
    report = Health(activity, thread, LIMIT_S).report()
    return report.state, report.healthy


def test_a_consumer_with_nothing_to_read_is_idle_however_long(
    activity: Activity, clock: ManualClock, thread: threading.Thread
) -> None:
    for _ in range(1000):
        activity.begin("read")
        activity.lag({"kafka:t:0": 0})
        activity.turned(0)
        clock.advance(10.0)
    assert state(activity, thread) == ("idle", True)


@pytest.mark.parametrize(
    ("step", "said"),
    [("read", "a poll has not returned"), ("commit", "the database holds it"), ("sweep", "holds the transaction")],
)
def test_a_step_that_does_not_end_is_stuck_and_named(
    activity: Activity, clock: ManualClock, thread: threading.Thread, step: Any, said: str
) -> None:
    activity.begin(step)
    clock.advance(LIMIT_S)
    assert state(activity, thread)[1]
    clock.advance(1.0)
    report = Health(activity, thread, LIMIT_S).report()
    assert (report.state, report.healthy) == ("stuck", False)
    assert said in report.detail


def test_a_part_that_is_away_is_waited_for_and_named(
    activity: Activity, clock: ManualClock, thread: threading.Thread
) -> None:
    for _ in range(20):
        activity.begin("commit")
        activity.failed(UnavailableError("database", "no route"), 7)
        clock.advance(10.0)
    report = Health(activity, thread, LIMIT_S).report()
    assert (report.state, report.healthy, report.waiting_records) == ("waiting", True, 7)
    assert report.detail == "for 200 s, tried 20 times: database is unavailable: no route"
    activity.turned(7)
    assert state(activity, thread) == ("idle", True)


def test_a_source_that_gives_nothing_of_what_it_says_there_is_counts_as_stuck(
    activity: Activity, clock: ManualClock, thread: threading.Thread
) -> None:
    def turn(lag: int, handled: int) -> str:
        activity.begin("read")
        activity.lag({"kafka:t:0": lag})
        activity.turned(handled)
        clock.advance(10.0)
        return state(activity, thread)[0]

    assert {turn(500, 100) for _ in range(60)} == {"working"}
    found = [turn(500, 0) for _ in range(60)]
    assert found[0] == "working"
    assert found[-1] == "stuck"
    assert turn(400, 100) == "working"
    assert turn(0, 400) == "idle"


def test_a_consumer_whose_thread_has_ended_has_stopped(activity: Activity) -> None:
    assert state(activity, threading.Thread()) == ("stopped", False)


class HeldSource(ListSource):
    """Its poll returns when it is let go."""

    def __init__(self, items: Sequence[Record], start: Callable[[str], int | None]) -> None:
        super().__init__(items, start)
        self.held = threading.Event()
        self.go = threading.Event()

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        self.held.set()
        self.go.wait()
        return super().poll(max_records, timeout_s)

    def lag(self) -> Mapping[str, int]:
        return {"spool:0": len(self.items) - self._next}


def test_a_real_consumer_held_by_its_source_is_stuck_and_well_once_let_go(parts: Parts) -> None:
    source = HeldSource(records([event(number) for number in range(30)]), parts.store.position)
    collector = parts.collector_of(source)
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        assert source.held.wait(120)
        report = Health(collector.activity, thread, 0.0).report()
        assert (report.state, report.healthy) == ("stuck", False)
        assert "a poll has not returned" in report.detail
        source.go.set()
        done = lambda: Health(collector.activity, thread, LIMIT_S).report().state == "idle"  # noqa: E731
        wait_until(lambda: done() and parts.store.position("spool:0") == 300, 120, "idle again")
    finally:
        source.go.set()
        stop.set()
        thread.join(120)


def test_a_real_consumer_whose_database_is_held_by_another_is_named(parts: Parts, url: str) -> None:
    """SQLite has one writer: while another has begun, the batch does not get in."""
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL has many writers")
    collector = parts.collector(records([event(number) for number in range(3)]))
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    with parts.store.transaction():
        thread.start()
        wait_until(lambda: collector.activity.step()[0] == "commit", 120, "the commit begins")
        time.sleep(0.05)
        report = Health(collector.activity, thread, 0.01).report()
        assert (report.state, report.waiting_records) == ("stuck", 3)
        assert "the database holds it" in report.detail
    wait_until(lambda: parts.store.position("spool:0") is not None, 120, "the batch is committed")
    stop.set()
    thread.join(120)


def test_lag_in_seconds_is_the_age_of_the_newest_stored_event_and_nothing_at_the_end(activity: Activity) -> None:
    activity.committed({"a": 500.0, "b": 600.0})
    activity.lag({"a": 3, "b": 0, "c": 9})
    assert activity.lag_s(650.0) == {"a": 150.0, "b": 0.0}
    activity.lag({"b": 1})  # 'a' is read by somebody else now
    activity.lag({"a": 3, "b": 1})
    assert activity.lag_s(700.0) == {"b": 100.0}


def test_the_figures_grow_while_the_thread_stands_still(parts: Parts, thread: threading.Thread) -> None:
    class Behind(ListSource):
        def lag(self) -> Mapping[str, int]:
            return {"spool:0": 4}

    collector = parts.collector_of(Behind(records([event(number) for number in range(5)]), parts.store.position))
    drain(collector)
    registry = CollectorRegistry()
    health = Health(collector.activity, thread, LIMIT_S)
    registry.register(ConsumerFigures(collector.activity, health.report, parts.clock))
    registry.register(StoreCounters(parts.store, parts.clock))
    newest_s = START_S + 4 * 60.0

    def value(metric: names.Metric, **labels: str) -> float | None:
        return registry.get_sample_value(metric.name, labels)

    parts.clock.now_s = newest_s + 100.0
    model = {"namespace": "default", "model": "flights"}
    assert value(names.COLLECTOR_LAG, partition="spool:0") == 4
    assert value(names.COLLECTOR_LAG_SECONDS, partition="spool:0") == pytest.approx(100.0)
    assert value(names.COLLECTOR_FRESHNESS, **model) == pytest.approx(100.0)
    parts.clock.advance(50.0)
    assert value(names.COLLECTOR_LAG_SECONDS, partition="spool:0") == pytest.approx(150.0)
    assert value(names.COLLECTOR_FRESHNESS, **model) == pytest.approx(150.0)
    assert value(names.COLLECTOR_STUCK) == 0.0
