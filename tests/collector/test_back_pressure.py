"""A database that does not take what it is given stops the reading: nothing piles up, and nothing is lost."""

import threading
import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text

from collector.settings import CollectorSettings
from collector.store.database import connect
from collector.store.store import Store
from driftline.errors import UnavailableError
from driftline.events import InferenceEvent
from driftline.records import Record
from driftline.testing import OneWay
from tests.collector.helpers import START_S, Parts, event, tables
from tests.parts.processes import wait_until


class Endless(OneWay):
    """A source that always has more; counts what it was asked for."""

    def __init__(self, start: Callable[[str], int | None]) -> None:
        self._next = start("spool:0") or 0
        self.given = 0
        self.acknowledged = 0

    def poll(self, max_records: int, _timeout_s: float) -> Sequence[Record]:
        first = self._next
        self._next += max_records
        self.given += max_records
        return [
            Record("spool:0", number, number + 1, event(number, at_s=START_S + number * 0.01, event_id=f"e-{number}"))
            for number in range(first, first + max_records)
        ]

    def acknowledge(self, _partition: str, next_offset: int) -> None:
        self.acknowledged = next_offset


class InTens(Endless):
    """Gives ten records a poll, however many are asked for."""

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        return super().poll(min(10, max_records), timeout_s)


def test_a_batch_ends_with_the_poll_that_fills_its_bytes(parts: Parts) -> None:
    (one,) = Endless(parts.store.position).poll(1, 1.0)
    assert isinstance(one.content, InferenceEvent)
    size_bytes = len(one.content.request.body) + len(one.content.response.body)
    for bound, handled in ((25 * size_bytes, 30), (1, 10), (10_000 * size_bytes, 100)):
        parts.settings = CollectorSettings(
            minimum_batch_records=100, maximum_batch_records=100, maximum_batch_bytes=bound, commit_interval_s=600.0
        )
        source = InTens(parts.store.position)
        assert parts.collector_of(source).run_once() == handled == source.given


def test_what_a_source_gave_before_it_failed_is_stored(parts: Parts) -> None:
    class Hiccup(Endless):
        """Fails at every second poll."""

        polls = 0

        def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
            self.polls += 1
            if self.polls % 2 == 0:
                raise UnavailableError("kafka", "gone")
            return super().poll(min(3, max_records), timeout_s)

    source = Hiccup(parts.store.position)
    collector = parts.collector_of(source)
    assert [collector.run_once() for _ in range(2)] == [3, 3]
    assert source.acknowledged == source.given == parts.store.position("spool:0")
    known = [(f"e-{number}", START_S + number * 0.01) for number in range(6)]
    assert len(parts.store.known_events(known)) == len(known)


@pytest.mark.real
def test_a_blocked_database_pauses_the_reading_and_memory_stays_flat(postgres_store: str) -> None:
    store = Store(postgres_store, prepare=False)
    parts = Parts(store)
    parts.settings = CollectorSettings(minimum_batch_records=50, maximum_batch_records=200)
    source = Endless(store.position)
    collector = parts.collector_of(source)
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    other = connect(postgres_store)
    tracemalloc.start()
    try:
        thread.start()
        wait_until(lambda: source.acknowledged > 1000, 120, "a thousand committed records")
        with other.begin() as blocking:
            blocking.execute(text("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE"))
            committed = store.position("spool:0")
            # What was read and not yet acknowledged is one batch; that it stays so while time goes by is the proof.
            wait_until(lambda: source.given > source.acknowledged, 120, "a batch in hand")
            blocked_sessions = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            watching = connect(postgres_store)
            with watching.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                wait_until(
                    lambda: bool(connection.execute(blocked_sessions).scalar_one()), 120.0, "a session that waits"
                )
            watching.dispose()
            given, held = source.given, tracemalloc.get_traced_memory()[0]
            for _ in range(20):
                assert not stop.wait(0.1)
                assert source.given == given
            assert given - source.acknowledged <= parts.settings.maximum_batch_records
            assert store.position("spool:0") == committed
            assert tracemalloc.get_traced_memory()[0] - held < 1_000_000
        wait_until(lambda: source.acknowledged > given + 500, 120, "more records once the lock is gone")
    finally:
        stop.set()
        thread.join(120)
        tracemalloc.stop()
        other.dispose()
    stored = [dict(row)["event_id"] for row in tables(postgres_store)["predictions"]]
    assert sorted(stored) == sorted(f"e-{number}" for number in range(store.position("spool:0") or 0))
    store.close()


@pytest.mark.real
def test_a_database_that_goes_away_is_waited_for_with_one_batch_in_hand(postgres_store: str) -> None:
    store = Store(postgres_store, prepare=False)
    parts = Parts(store)
    source = Endless(store.position)
    collector = parts.collector_of(source)
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    other = connect(postgres_store)
    try:
        thread.start()
        for _ in range(5):  # every session but ours is ended, again and again
            before = source.acknowledged
            wait_until(lambda before=before: source.acknowledged > before + 50, 120, "records")  # type: ignore[misc]
            with other.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                        "AND datname = current_database()"
                    )
                )
            assert source.given - source.acknowledged <= 2 * parts.settings.maximum_batch_records
    finally:
        stop.set()
        thread.join(120)
        other.dispose()
    stored = [dict(row)["event_id"] for row in tables(postgres_store)["predictions"]]
    assert sorted(stored) == sorted(f"e-{number}" for number in range(store.position("spool:0") or 0))
    store.close()
