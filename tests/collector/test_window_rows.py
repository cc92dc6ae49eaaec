"""Some of a window's rows, by a hash of their keys: the same whatever the order, and without what was erased."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.keeping.retention import Retention
from collector.settings import CollectorSettings
from collector.store.ids import key_of
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.monitors import ColumnSpec, Monitor
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, records

STREAM = StreamKey("default", "flights", "3", "stable")
FIRST_HOUR = WindowKey(STREAM, "", START_S, START_S + HOUR_S)
NUMBERS = range(90)  # a minute apart: 60 in the first hour


def events(numbers: range | list[int] = NUMBERS) -> list[InferenceEvent]:
    """Each of one row whose distance is its number."""
    return [
        event(number, distance=[float(number)], carrier=[["AA", "aa", "UA"][number % 3]], late=["1"], score=[0.5])
        for number in numbers
    ]


def found(rows: ColumnBatch) -> list[int]:
    return sorted(int(value) for value in rows.numeric["distance"])


def smallest(parts: Parts, numbers: range | list[int], limit: int) -> list[int]:
    """What the rule says: those whose key and row have the smallest hash."""
    keys = {number: key_of(f"event-{number:06d}") for number in numbers}
    ranks: dict[int, Any]
    with parts.store.reading() as connection:
        if connection.dialect.name == "sqlite":
            ranks = {number: hashlib.md5(f"{key}/0".encode()).hexdigest() for number, key in keys.items()}
        else:
            rank = text("SELECT uuid_hash_extended(CAST(:key AS uuid), 0)")
            ranks = {number: connection.execute(rank, {"key": key}).scalar_one() for number, key in keys.items()}
    return sorted(sorted(numbers, key=ranks.__getitem__)[:limit])


def test_the_rows_of_the_smallest_hashes_are_found_with_their_columns(parts: Parts) -> None:
    drain(parts.collector(records(events())))
    for limit in (1, 20, 60, 500):
        rows = parts.store.window_rows([FIRST_HOUR], limit)
        assert found(rows) == smallest(parts, range(60), limit)
        assert rows.rows == min(limit, 60)
    carriers = zip(rows.numeric["distance"].tolist(), rows.text["carrier"], strict=True)
    assert all(carrier == ["AA", "aa", "UA"][int(number) % 3] for number, carrier in carriers)


def test_neither_order_nor_batches_nor_replays_change_them(parts: Parts) -> None:
    shuffled = np.random.default_rng(1).permutation(90).tolist()
    drain(parts.collector(records(events(shuffled))))
    assert found(parts.store.window_rows([FIRST_HOUR], 25)) == smallest(parts, range(60), 25)
    drain(parts.collector(records([*events(), *events(shuffled)], "another:0")))
    assert found(parts.store.window_rows([FIRST_HOUR], 25)) == smallest(parts, range(60), 25)


def test_rows_of_a_segment_are_those_of_its_exact_name(parts: Parts) -> None:
    drain(parts.collector(records(events())))
    segment = dataclasses.replace(FIRST_HOUR, segment="carrier=aa")
    assert found(parts.store.window_rows([segment], 500)) == list(range(1, 60, 3))
    assert parts.store.window_rows([dataclasses.replace(FIRST_HOUR, segment="carrier=a")], 500).rows == 0


def test_several_windows_have_the_smallest_hashes_of_all_their_rows(parts: Parts) -> None:
    drain(parts.collector(records(events())))
    second = dataclasses.replace(FIRST_HOUR, start_s=START_S + HOUR_S, end_s=START_S + 2 * HOUR_S)
    for limit in (20, 500):
        assert found(parts.store.window_rows([FIRST_HOUR, second], limit)) == smallest(parts, range(90), limit)
    assert parts.store.window_rows([], 20) == ColumnBatch(0)


def test_an_erased_row_leaves_its_place_to_the_next(parts: Parts) -> None:
    drain(parts.collector(records(events())))
    gone = smallest(parts, range(60), 10)[3]
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, None)
    eraser.erase(Selector("default", "flights", "request_id", f"request-{gone}"), "somebody")
    left = [number for number in range(60) if number != gone]
    assert found(parts.store.window_rows([FIRST_HOUR], 10)) == smallest(parts, left, 10)


def test_rows_without_their_columns_are_not_there(parts: Parts) -> None:
    monitor = Monitor.model_validate({**MONITOR.model_dump(), "retention": {"payloads": "1d"}})
    drain(parts.collector(records(events())))
    Retention(parts.store, {monitor.name: monitor}).run(START_S + 30 * HOUR_S)
    assert parts.store.window_rows([FIRST_HOUR], 500).rows == 0
    parts.settings = CollectorSettings(store_columns=False)
    drain(parts.collector(records(events(range(200, 230)), "another:0")))
    assert parts.store.window_rows([WindowKey(STREAM, "", START_S + 3 * HOUR_S, START_S + 4 * HOUR_S)], 500).rows == 0


def test_a_stream_that_never_was_has_no_rows(parts: Parts) -> None:
    assert parts.store.window_rows([FIRST_HOUR], 10) == ColumnBatch(0)


def test_rows_of_an_older_layout_lack_its_new_columns(parts: Parts) -> None:
    drain(parts.collector(records(events(range(30)))))
    wider = (*MONITOR.columns, ColumnSpec(name="weight", type="numeric"), ColumnSpec(name="plan", type="categorical"))
    monitor = MONITOR.model_copy(update={"columns": wider})
    parts.monitors = {monitor.name: monitor}
    later = event(40, distance=[40.0], carrier=["AA"], late=["1"], weight=[7.0], plan=["x"])
    drain(parts.collector(records([later], "another:0")))
    rows = parts.store.window_rows([FIRST_HOUR], 500)
    assert rows.rows == 31
    assert rows.numeric["weight"][rows.numeric["distance"] == 40.0] == pytest.approx([7.0])
    assert np.isnan(rows.numeric["weight"]).sum() == 30
    assert sorted(str(plan) for plan in rows.text["plan"]) == ["None"] * 30 + ["x"]
