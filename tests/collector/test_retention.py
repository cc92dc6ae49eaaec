"""What is past its time goes, model by model; what is not stays, and nobody waits for it."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from collector.batches.payloads import PayloadWriter
from collector.keeping.retention import Retention
from collector.store.database import connect, reading
from collector.store.partitions import existing_days
from driftline.monitors import Monitor, RetentionSpec
from tests.collector.helpers import MONITOR, START_S, Parts, drain, event, label, records, tables
from tests.collector.payload_rows import read_payloads

DAY_S = 86400.0
NOON_S = START_S - START_S % DAY_S + DAY_S / 2


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


def keeping(model: Monitor, **spans: str) -> Monitor:
    return model.model_copy(update={"retention": RetentionSpec.model_validate(spans)})


def two_models(short: dict[str, str], long: dict[str, str]) -> dict[str, Monitor]:
    other = MONITOR.model_copy(update={"model": "others"})
    found = (keeping(MONITOR, **short), keeping(other, **long))
    return {monitor.name: monitor for monitor in found}


def fill(parts: Parts, days: int, per_day: int = 6) -> None:
    """Both models on every day, the first labelled; a dead letter and an event without rows beside them."""
    parts.clock.now_s = NOON_S + days * DAY_S
    items = []
    for day in range(days):
        for number in range(per_day):
            name = day * per_day + number
            at_s = NOON_S + day * DAY_S + number
            items.append(event(name, at_s=at_s))
            items.append(event(name, at_s=at_s, model="others", event_id=f"other-{name}"))
        items.append(event(10_000 + day, at_s=NOON_S + day * DAY_S, status=500))
        items.append(label(day * per_day, "1", observed_at_s=NOON_S + day * DAY_S + 10))
    drain(parts.collector(records([*items, event(9, event_id="broken", body=b"{")])))


def kept(url: str, table: str) -> Counter[str]:
    """Rows by day since the first."""
    names = ("time_s", "end_s")
    found: Counter[str] = Counter()
    for row in map(dict, tables(url)[table]):
        at_s = next(row[name] for name in names if name in row)
        model = row["stream_id"][1] if "stream_id" in row else ""
        found[f"{model}{int((at_s - NOON_S + DAY_S / 2 - 1e-6) // DAY_S)}"] += 1
    return found


def test_each_model_keeps_what_its_monitor_says(parts: Parts, url: str, engine: Engine) -> None:
    parts.monitors = two_models({"predictions": "2d", "payloads": "1d", "results": "3d"}, {"predictions": "4d"})
    fill(parts, 6)
    before = tables(url)
    removed = Retention(parts.store, parts.monitors, batch_rows=4).run(NOON_S + 6 * DAY_S)
    assert kept(url, "predictions") == {
        **{f"flights{day}": 6 for day in (4, 5)},
        **{f"others{day}": 6 for day in (2, 3, 4, 5)},
    }
    assert kept(url, "labels") == {"flights4": 1, "flights5": 1}
    assert kept(url, "rowless_events") == {"flights4": 1, "flights5": 1}
    assert {day for key in kept(url, "window_states") if (day := key.removeprefix("flights")) != key} == {"3", "4", "5"}
    assert len(tables(url)["prediction_columns"]) == 6 + 4 * 6
    assert tables(url)["streams"] == before["streams"]
    if engine.dialect.name == "postgresql":
        with reading(engine) as connection:
            assert len(existing_days(connection)) == 4
        assert removed["all", "all", "days"] == 2
        assert removed["default", "flights", "predictions"] == 2 * 6
    else:
        assert removed["default", "flights", "predictions"] == 4 * 6
        assert removed["default", "others", "predictions"] == 2 * 6
    metric = "driftline_collector_removed_total"
    assert {key.labels: count for key, count in parts.store.totals().items() if key.metric == metric} == removed
    again = tables(url)
    assert not Retention(parts.store, parts.monitors).run(NOON_S + 6 * DAY_S)
    assert tables(url) == again


def test_dead_letters_and_models_without_a_monitor_go_by_the_defaults(parts: Parts, url: str) -> None:
    fill(parts, 2)
    assert len(tables(url)["dead_letters"]) == 2 * 6 + 1  # "others" has no monitor here
    Retention(parts.store, {}).run(parts.clock.now_s + 29 * DAY_S)
    assert len(tables(url)["dead_letters"]) == 13
    assert len(tables(url)["predictions"]) == 12
    Retention(parts.store, {}).run(parts.clock.now_s + 31 * DAY_S)
    assert tables(url)["dead_letters"] == []
    assert tables(url)["prediction_columns"] == []
    assert len(tables(url)["predictions"]) == 12
    Retention(parts.store, {}).run(parts.clock.now_s + 93 * DAY_S)
    assert tables(url)["predictions"] == []
    assert tables(url)["labels"] == []
    assert tables(url)["window_states"]


def test_payload_files_go_by_model(parts: Parts, tmp_path: Path) -> None:
    parts.monitors = two_models({"payloads": "1d"}, {"payloads": "3d"})
    parts.payloads = PayloadWriter(tmp_path)
    fill(parts, 4)
    Retention(parts.store, parts.monitors, parts.payloads.files).run(NOON_S + 4 * DAY_S)
    files = parts.store.payload_files()
    assert sorted({(file.model, int((file.first_event_s - NOON_S) // DAY_S)) for file in files}) == [
        ("flights", 3),
        ("others", 1),
        ("others", 2),
        ("others", 3),
    ]
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")} == {f.path for f in files}
    assert len(read_payloads(tmp_path, files, MONITOR, 0.0, 2 * NOON_S)) == 6


def test_a_day_in_use_is_not_waited_for(parts: Parts, url: str, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite drops no days")
    fill(parts, 2)
    with engine.begin() as busy:
        busy.execute(text("SELECT count(*) FROM predictions")).all()
        removed = Retention(parts.store, {}).run(parts.clock.now_s + 200 * DAY_S)
    assert removed["all", "all", "days"] == 0
    assert removed["default", "flights", "predictions"] == 12
    assert Retention(parts.store, {}).run(parts.clock.now_s + 200 * DAY_S)["all", "all", "days"] == 2
    assert tables(url)["predictions"] == []


def test_a_day_that_was_made_for_a_transaction_is_there_until_its_end(parts: Parts, url: str, engine: Engine) -> None:
    """An empty day, so late that it could go: between its making and the first row somebody may look for such days."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite drops no days")
    late_s, now_s = NOON_S, NOON_S + 200 * DAY_S
    with parts.store.transaction() as transaction:
        transaction.prepare_days([late_s])
        assert Retention(parts.store, {}).run(now_s)["all", "all", "days"] == 0
    assert Retention(parts.store, {}).run(now_s)["all", "all", "days"] == 1


def test_a_day_in_which_rows_came_meanwhile_is_not_dropped(parts: Parts, url: str, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite drops no days")
    with parts.store.transaction() as transaction:
        transaction.prepare_days([NOON_S])
    retention, now_s = Retention(parts.store, {}), NOON_S + 80 * DAY_S
    ((day, gone),) = retention._droppable(retention._models(), now_s)
    drain(parts.collector(records([event(1, at_s=NOON_S)])))
    assert not retention._drop(day, gone)
    assert len(tables(url)["predictions"]) == 1


def test_commits_go_on_while_days_are_dropped(parts: Parts, url: str, engine: Engine) -> None:
    fill(parts, 3)
    stop = threading.Event()
    faults: list[Exception] = []

    def remove() -> None:
        try:
            while not stop.is_set():
                Retention(parts.store, {}, batch_rows=3).run(NOON_S + 92 * DAY_S + 3600)
        except Exception as error:  # noqa: BLE001 - shown below
            faults.append(error)

    thread = threading.Thread(target=remove)
    thread.start()
    parts.clock.now_s = NOON_S + 100 * DAY_S
    stream = records(
        [event(1000 + number, at_s=NOON_S + (80 + number % 15) * DAY_S) for number in range(60)], "spool:1"
    )
    drain(parts.collector(stream))
    stop.set()
    thread.join(60)
    assert faults == []
    assert sum(count for key, count in kept(url, "predictions").items() if key.startswith("flights")) == 60
