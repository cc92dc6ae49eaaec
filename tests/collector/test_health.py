"""Health tells a stuck consumer from an idle one, and from one that waits for a part that is away."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from collector.labels.completeness import LabelGauges
from collector.operating.activity import RESTS_AFTER_S, Activity
from collector.operating.asking import Asking
from collector.operating.health import Health
from collector.operating.metrics import ConsumerFigures, StoreCounters
from collector.operating.speaker import Speaker
from collector.store import schema
from collector.store.database import connect
from collector.store.store import Store
from driftline import names
from driftline.errors import UnavailableError
from driftline.records import Reach, Record
from driftline.testing import ListSource, ManualClock
from tests.collector.helpers import START_S, Parts, drain, event, records
from tests.collector.running import RunningApi
from tests.collector.test_api import FixedHealth, make_app
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
        self.entered = threading.Event()
        self.go = threading.Event()

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        self.entered.set()
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
        assert source.entered.wait(120)
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
        health = Health(collector.activity, thread, 0.01)
        wait_until(lambda: health.report().state == "stuck", what="the step is too long")
        report = health.report()
        assert report.waiting_records == 3
        assert "the database holds it" in report.detail
    wait_until(lambda: parts.store.position("spool:0") is not None, 120, "the batch is committed")
    stop.set()
    thread.join(120)


def test_the_log_says_once_that_a_part_is_away_and_once_that_it_is_back(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()

    class Away(ListSource):
        polls = 0

        def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
            self.polls += 1
            if self.polls in (1, 4, 5, 6):
                raise UnavailableError("kafka", f"gone at {self.polls}")
            if self.polls == 9:
                stop.set()
            return super().poll(max_records, timeout_s)

    parts.collector_of(Away(records([event(1)]), parts.store.position)).run(stop)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "gone at 5; nothing is read" in told[0]
    assert told[1].endswith("and 3 tries")


def test_what_waits_for_people_is_told_beside_what_goes_on(activity: Activity, thread: threading.Thread) -> None:
    told = "topic 'a' was made anew and is not read"
    activity.held = {"kafka:a:0": told, "kafka:a:1": told}
    activity.turned(5)
    assert state(activity, thread) == ("waiting", True)
    report = Health(activity, thread, LIMIT_S).report()
    assert report.detail == f"{told}. Of the rest: everything is read and committed"
    activity.begin("wait")
    activity.failed(UnavailableError("database", "gone"), 3)
    assert "gone" in Health(activity, thread, LIMIT_S).report().detail
    registry = CollectorRegistry()
    registry.register(ConsumerFigures(activity, Health(activity, thread, LIMIT_S).report, lambda: 0.0))
    for partition, found in (("kafka:a:0", 1.0), ("kafka:a:1", 1.0), ("kafka:b:0", None)):
        assert registry.get_sample_value(names.COLLECTOR_HELD.name, {"partition": partition}) == found
    activity.held = {}
    activity.turned(5)
    assert state(activity, thread) == ("idle", True)


def test_partitions_that_nobody_reads_are_told_with_what_waits_there(
    activity: Activity, thread: threading.Thread, clock: ManualClock
) -> None:
    activity.lag({"kafka:a:0": 0})
    activity.others({"kafka:a:1": Reach(5, 9), "kafka:a:2": Reach(7, 7)})
    clock.advance(RESTS_AFTER_S)
    activity.others({"kafka:a:1": Reach(5, 12), "kafka:a:2": Reach(7, 8)})
    assert state(activity, thread) == ("idle", True)
    clock.advance(1.0)
    report = Health(activity, thread, LIMIT_S).report()
    assert (report.state, report.healthy) == ("waiting", True)
    assert report.detail.startswith("nobody reads kafka:a:1: 7 records wait, and none were stored for 11 s.")
    registry = CollectorRegistry()
    registry.register(ConsumerFigures(activity, Health(activity, thread, LIMIT_S).report, lambda: 0.0))
    for partition, found in (("kafka:a:0", 0.0), ("kafka:a:1", 11.0), ("kafka:a:2", 0.0)):
        assert registry.get_sample_value(names.COLLECTOR_RESTING.name, {"partition": partition}) == found
    activity.others({"kafka:a:1": Reach(6, 12), "kafka:a:2": Reach(7, 8)})  # somebody goes on with it
    assert state(activity, thread) == ("idle", True)
    clock.advance(RESTS_AFTER_S + 1.0)
    activity.others({})  # they are ours now
    assert state(activity, thread) == ("idle", True)


def test_a_source_that_does_not_say_how_far_it_goes_is_waited_for_and_not_idle(parts: Parts) -> None:
    class Away(ListSource):
        is_away = True

        def lag(self) -> Mapping[str, int]:
            if self.is_away:
                raise UnavailableError("kafka", "no answer")
            return {"kafka:a:0": 0}

        def elsewhere(self) -> Mapping[str, Reach]:
            raise UnavailableError("database", "gone")

    collector = parts.collector_of(source := Away([]))
    drain(collector)
    activity = collector.activity
    report = Health(activity, threading.current_thread(), LIMIT_S).report()
    assert (report.state, report.detail[-42:]) == ("waiting", "tried 1 times: kafka is unavailable: no answer"[-42:])
    assert activity.is_away()
    assert activity.behind_s() is None
    source.is_away = False
    wait_until(lambda: not (collector.run_once() or activity.is_away()), 60, "it is asked again")
    assert activity.behind_s() is not None


def test_what_a_source_holds_is_told_with_its_lag(parts: Parts) -> None:
    class Holding(ListSource):
        def held(self) -> Mapping[str, str]:
            return {"kafka:a:0": "do something"}

    collector = parts.collector_of(Holding(records([event(0)]), parts.store.position))
    drain(collector)
    assert collector.activity.held == {"kafka:a:0": "do something"}


def test_lag_in_seconds_is_the_age_of_the_newest_stored_event_and_nothing_at_the_end(activity: Activity) -> None:
    activity.committed({"a": 500.0, "b": 600.0})
    activity.lag({"a": 3, "b": 0, "c": 9})
    assert activity.lag_s(650.0) == {"a": 150.0, "b": 0.0}
    activity.lag({"b": 1})  # 'a' is read by somebody else now
    activity.lag({"a": 3, "b": 1})
    assert activity.lag_s(700.0) == {"b": 100.0}


def test_what_is_in_hand_and_not_committed_is_behind(activity: Activity) -> None:
    activity.committed({"a": 500.0})
    activity.lag({"a": 7, "b": 2})
    activity.took(8, {"a": 7, "c": 1})
    assert activity.distances() == {"a": 7, "b": 2, "c": 1}
    assert activity.lag_s(650.0) == {"a": 150.0}
    activity.failed(UnavailableError("database", "away"), 7)
    assert activity.distances()["a"] == 7
    activity.turned(7)
    assert activity.distances() == {"a": 0, "b": 2}


def test_a_question_that_is_not_answered_in_time_is_left_alone_and_its_followers_refused_at_once() -> None:
    asking, go = Asking(for_s=0.02), threading.Event()
    with pytest.raises(UnavailableError, match=r"has not answered within 0\.02 s"):
        asking.ask(go.wait)
    with pytest.raises(UnavailableError):
        asking.ask(lambda: 4)
    go.set()
    wait_until(lambda: _told(asking) == 5, 120, "the late one has ended")


def _told(asking: Asking) -> int | None:
    try:
        return asking.ask(lambda: 5)
    except UnavailableError:
        return None


@pytest.mark.real
def test_metrics_and_readiness_answer_while_the_database_holds_everybody(postgres_store: str) -> None:
    parts = Parts(Store(postgres_store))
    collector = parts.collector(records([event(number) for number in range(5)]))
    drain(collector)
    stored = 'driftline_collector_events_total{model="flights",namespace="default",outcome="stored"'
    other = connect(postgres_store)
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        assert stored in httpx.get(f"{api.url}/metrics", timeout=120).text
        with other.begin() as blocking:
            for table in schema.metadata.sorted_tables:
                blocking.execute(text(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE"))
            held = httpx.get(f"{api.url}/metrics", timeout=120)
            assert (held.status_code, stored in held.text) == (200, True)
            assert not Speaker(parts.store).speaks()
            assert list(LabelGauges(parts.store, parts.monitors, parts.clock).collect()) == []
        assert stored in httpx.get(f"{api.url}/metrics", timeout=120).text
    other.dispose()


def test_how_far_behind_it_is_goes_by_what_had_come_and_not_by_what_comes(
    activity: Activity, clock: ManualClock
) -> None:
    assert activity.behind_s() is None
    activity.lag({"a": 0, "b": 10})
    assert activity.behind_s() is None  # nobody knows how old those ten are
    began_s = clock.now_s
    for number in range(4):
        clock.advance(1.0)
        activity.took(3, {"b": 3})
        assert (activity.behind_s() is None) == (number < 3)
        activity.turned(3)
        activity.lag({"a": 0, "b": 10})  # as much comes as is read
    assert activity.behind_s() == clock.now_s - began_s
    activity.lag({"a": 0})  # 'b' is read by somebody else now
    assert activity.behind_s() == 0.0
    activity.others({"b": Reach(10, 20)})
    assert activity.behind_s() is None  # what is left there, nobody knows since when
    asked_s = clock.now_s
    clock.advance(3.0)
    activity.others({"b": Reach(19, 40)})
    assert activity.behind_s() is None
    clock.advance(3.0)
    activity.others({"b": Reach(20, 50)})  # the other has read what was there at the first look
    activity.lag({"a": 0})
    assert activity.behind_s() == clock.now_s - asked_s
    activity.others({"b": Reach(50, 50)})
    assert activity.behind_s() == 0.0
    activity.lag({})
    assert activity.behind_s() is None


def test_the_figures_grow_while_the_thread_stands_still(parts: Parts, thread: threading.Thread) -> None:
    class Behind(ListSource):
        def lag(self) -> Mapping[str, int]:
            ahead = [item for item in self.items[self._next :] if isinstance(item, Record)]
            return {"spool:0": 4 + (ahead[-1].next_offset - ahead[0].offset if ahead else 0)}

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
