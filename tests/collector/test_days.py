"""Rows by day: where they are kept, what an event is known by, and the way from and to the schema before."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from collector.store import schema
from collector.store.database import connect, reading, writing
from collector.store.migrate import downgrade, migrate
from collector.store.partitions import FIRST_DAY, DayPartitions, existing_days
from collector.store.store import Store
from collector.store.transaction import Transaction
from driftline.events import new_event_id
from tests.collector.helpers import START_S, Parts, drain, event, label, records, tables

DAY_S = 86400.0


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


def days(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return existing_days(connection)


def uuid_event(number: int, at_s: float, **changes: Any) -> Any:
    ids = {
        name: new_event_id(int(at_s * 1000) * 1_000_000, lambda bits: number % (1 << bits)) for name in ("event_id",)
    }
    return event(number, at_s=at_s, **{**ids, **changes})


def test_each_day_has_a_partition_of_its_own(parts: Parts, engine: Engine) -> None:
    start_s = START_S - START_S % DAY_S
    times = [start_s + 5, start_s + DAY_S - 0.001, start_s + DAY_S, start_s + 9 * DAY_S, 100.0, 86400.0 * FIRST_DAY - 1]
    drain(parts.collector(records([event(number, at_s=time_s) for number, time_s in enumerate(times)])))
    assert sorted(row["time_s"] for row in map(dict, tables(str(engine.url))["predictions"])) == sorted(times)
    if engine.dialect.name == "postgresql":
        first = int(start_s // DAY_S)
        assert days(engine) == [FIRST_DAY - 1, first, first + 1, first + 9]
        with engine.connect() as connection:
            name = f"predictions_{'20840129' if first == 41666 else 'unexpected'}"
            counted = connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
        assert counted == 2


def test_many_collectors_make_the_same_days_at_once(url: str, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no partitions")
    faults: list[Exception] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        own = connect(url)
        try:
            barrier.wait(120)
            for day in range(20000, 20012):
                order = day if number % 2 else 40011 - day
                with writing(own) as connection:
                    Transaction(connection, DayPartitions(own)).prepare_days([order * DAY_S + number])
        except Exception as error:  # noqa: BLE001 - shown below
            faults.append(error)
        finally:
            own.dispose()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert faults == []
    assert days(engine) == list(range(20000, 20012))


def test_a_day_is_made_while_other_writers_are_in_the_middle_of_theirs(url: str, engine: Engine) -> None:
    """Nobody waits: a partition is attached without the lock that writers of rows hold."""
    first, second = Store(url, prepare=False), Store(url, prepare=False)
    parts = Parts(first)
    drain(parts.collector(records([event(1)])))
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with first.transaction() as open_transaction:
        open_transaction.connection.execute(
            text("INSERT INTO labels SELECT event_key, row, 1, time_s, stream_id, 'x', 1, 1, 0, 0 FROM predictions")
        )
        done = threading.Event()

        def other() -> None:
            drain(Parts(second).collector(records([event(2, at_s=START_S + 40 * DAY_S)], "spool:1")))
            done.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert done.wait(120)
        thread.join()
    first.close()
    second.close()


def test_a_day_that_was_dropped_behind_our_back_is_made_again(parts: Parts, engine: Engine) -> None:
    drain(parts.collector(records([event(1)])))
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no partitions")
    with engine.begin() as connection:
        for table in schema.DAILY:
            connection.execute(text(f"DROP TABLE {table}_20840129"))
    drain(parts.collector(records([event(2)], "spool:1")))
    assert len(tables(str(engine.url))["predictions"]) == 1


def test_an_event_is_known_by_its_id_and_its_time(parts: Parts, engine: Engine) -> None:
    """A replay carries both; a sender that uses an id again, as some do, means another event."""
    one = event(1, event_id="shared")
    again = event(2, event_id="shared", at_s=START_S + 3 * DAY_S)
    drain(parts.collector(records([one, again, one])))
    drain(parts.collector(records([again, one], "spool:1")))
    found = [dict(row) for row in tables(str(engine.url))["predictions"]]
    assert [(row["event_id"], row["time_s"]) for row in found] == [("shared", one.time_s), ("shared", again.time_s)]
    outcomes = {key.labels[4]: count for key, count in parts.store.totals().items() if "events" in key.metric}
    assert outcomes == {"stored": 2, "duplicate": 3}


def test_events_without_rows_and_dead_letters_are_known_by_both_too(parts: Parts) -> None:
    failed = [event(1, event_id="a", status=500), event(2, event_id="a", status=500)]
    broken = [event(3, event_id="b", body=b"{"), event(4, event_id="b", body=b"{")]
    drain(parts.collector(records([*failed, *broken])))
    known = parts.store.known_events([("a", failed[0].time_s), ("a", 5.0), ("b", broken[1].time_s), ("b", 5.0)])
    assert known == {("a", failed[0].time_s), ("b", broken[1].time_s)}


def test_rows_go_to_the_schema_before_and_back(parts: Parts, url: str) -> None:
    own = [uuid_event(number, START_S + 60.0 * number) for number in range(5)]
    foreign = [event(number, at_s=START_S + DAY_S * number) for number in range(5, 9)]
    truths = [label(number, str(number % 2)) for number in (1, 2, 6, 7)]
    drain(parts.collector(records([*own, *foreign, event(50, status=500), *truths])))
    before = tables(url)
    samples = parts.store.samples(parts.store.streams()[0].stream, 0.0, START_S * 2, 100)
    assert (len(before["predictions"]), len(before["prediction_columns"]), len(before["labels"])) == (9, 9, 4)
    downgrade(url, "0004")
    engine = connect(url)
    with engine.connect() as connection:
        flat = connection.execute(
            text("SELECT event_id, request_id, label, label_time_s, columns IS NULL FROM predictions ORDER BY time_s")
        ).all()
    engine.dispose()
    assert [row[0] for row in flat] == [each.id for each in [*own, *foreign]]
    assert [row[1] for row in flat] == [each.request_id for each in [*own, *foreign]]
    assert [row[2] for row in flat] == [str(n % 2) if n in (1, 2, 6, 7) else None for n in range(9)]
    assert not any(row[4] for row in flat)
    migrate(url)
    after = tables(url)
    forgotten = [dict(row) | {"received_at_s": None} for row in before["labels"]]
    assert [dict(row) for row in after["labels"]] == forgotten
    assert {name: rows for name, rows in after.items() if name != "labels"} == {
        name: rows for name, rows in before.items() if name != "labels"
    }
    assert parts.store.samples(parts.store.streams()[0].stream, 0.0, START_S * 2, 100) == samples
    drain(parts.collector(records([*own, *foreign], "spool:9")))
    assert len(tables(url)["predictions"]) == 9
