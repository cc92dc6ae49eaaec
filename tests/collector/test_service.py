"""The collector's loop: what goes in comes out once, whatever happens in between."""

import contextlib
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.store.store import Store
from driftline import names
from driftline.errors import TransientError, UnavailableError
from driftline.records import Malformed, Record
from driftline.results import StreamKey, WindowKey
from driftline.testing import Crash, ListSource, OneWay
from tests.collector.helpers import (
    HOUR_S,
    MONITOR,
    START_S,
    Parts,
    drain,
    event,
    label,
    merged,
    records,
    tables,
)

STREAM = StreamKey("default", "flights", "3", "stable")


def whole(start_s: float = START_S, segment: str = "") -> WindowKey:
    return WindowKey(STREAM, segment, start_s, start_s + HOUR_S)


def totals(parts: Parts, metric: names.Metric) -> dict[tuple[str, ...], int]:
    """Counters by the labels after the stream."""
    return {key.labels[4:]: value for key, value in parts.store.totals().items() if key.metric == metric.name}


def test_events_become_rows_counts_and_a_position(parts: Parts, url: str) -> None:
    collector = parts.collector(records([event(number) for number in range(130)]))
    assert drain(collector) == 130
    assert len(tables(url)["predictions"]) == 130
    assert parts.store.position("spool:0") == 1300
    assert [merged(parts.store.window_states(whole(START_S + h * HOUR_S)))["rows"] for h in range(3)] == [60, 60, 10]
    assert totals(parts, names.COLLECTOR_EVENTS) == {("stored", ""): 130}


def test_rows_of_a_segment_are_counted_apart_up_to_the_bound(parts: Parts) -> None:
    drain(parts.collector(records([event(number) for number in range(60)])))
    assert merged(parts.store.window_states(whole(segment="carrier=AA")))["rows"] == 20
    assert merged(parts.store.window_states(whole(segment="carrier=UA")))["carrier=UA"] == 20
    assert parts.store.window_states(whole(segment="carrier=DL")) == []


def test_one_call_of_the_statistics_serves_all_events_of_a_batch(parts: Parts) -> None:
    parts.collector(records([event(number, at_s=START_S) for number in range(7)])).run_once()
    assert parts.statistics.calls == 3  # all rows and two segments


def test_an_error_answer_is_stored_without_rows_and_only_once(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(1, status=503), event(1, status=503)])))
    assert len(tables(url)["rowless_events"]) == 1
    assert totals(parts, names.COLLECTOR_EVENTS) == {("stored", ""): 1, ("duplicate", ""): 1}


def test_a_duplicate_is_found_in_the_batch_across_batches_and_across_partitions(parts: Parts, url: str) -> None:
    first = records([event(1), event(1), event(2)])
    drain(parts.collector([*first, *records([event(2), event(3)], "spool:1")]))
    drain(parts.collector(records([event(1)], "spool:2")))
    assert len(tables(url)["predictions"]) == 3
    assert totals(parts, names.COLLECTOR_EVENTS) == {("stored", ""): 3, ("duplicate", ""): 3}


def test_what_cannot_be_used_becomes_a_dead_letter_with_its_reason(parts: Parts) -> None:
    contents = [
        event(1, body=b"{"),
        event(2, model="nobody"),
        Malformed("bad_header", "ce_id is missing", b"raw"),
        event(3, at_s=START_S + 400 * HOUR_S),
        event(4),
    ]
    drain(parts.collector(records(contents)))
    letters = {letter.reason: letter for letter in parts.store.dead_letters(10)}
    assert letters.keys() == {"not_json", "unknown_model", "bad_header", "bad_time"}
    assert letters["bad_header"].raw == b"raw"
    assert "nobody" in letters["unknown_model"].detail
    assert letters["bad_time"].detail.startswith("event time 20")  # as people read it
    assert "ahead of the collector's clock, 20" in letters["bad_time"].detail
    counts = {
        key.labels: value for key, value in parts.store.totals().items() if key.metric == names.COLLECTOR_EVENTS.name
    }
    assert counts["default", "nobody", "unknown", "unknown", "dead_letter", "unknown_model"] == 1
    assert counts["unknown", "unknown", "unknown", "unknown", "dead_letter", "bad_header"] == 1
    assert counts["default", "flights", "3", "stable", "dead_letter", "not_json"] == 1
    assert sum(counts.values()) == 5


def test_values_that_break_a_rule_are_counted_by_column_and_reason(parts: Parts) -> None:
    broken = event(
        1,
        distance=[-1.0, 9000.0, None, "inf", 10.0],
        carrier=["AA", "XX", None, "UA", "UA"],
        late=["0"] * 5,
        score=[0.5] * 5,
    )
    drain(parts.collector(records([broken])))
    assert totals(parts, names.VALIDATION_FAILURES) == {
        ("distance", "below_minimum"): 1,
        ("distance", "above_maximum"): 1,
        ("distance", "missing"): 1,
        ("distance", "not_finite"): 1,
        ("carrier", "not_allowed"): 1,
    }
    assert totals(parts, names.COLLECTOR_ROWS) == {("pass",): 1, ("fail",): 4}


def test_a_batch_with_columns_of_wrong_length_loses_only_the_event_that_brings_them(parts: Parts, url: str) -> None:
    crooked = event(1, distance=[1.0, 2.0], carrier=["AA"], late=["1", "1"], score=[0.5, 0.5])
    drain(parts.collector(records([event(0), crooked, event(2)])))
    assert len(tables(url)["predictions"]) == 2
    (letter,) = parts.store.dead_letters(10)
    assert (letter.reason, letter.event_id) == ("unstorable", "event-000001")


def test_text_with_nul_characters_is_stored(parts: Parts) -> None:
    odd = event(1, request_id="a\x00b", distance=[1.0], carrier=["A\x00"], late=["1\x00"], score=[0.5])
    drain(parts.collector(records([odd])))
    (sample,) = parts.store.samples(STREAM, 0, 1e12, 10)
    assert (sample.request_id, sample.prediction) == ("a\ufffdb", "1\ufffd")


def test_versions_beyond_the_bound_count_as_other(parts: Parts) -> None:
    drain(parts.collector(records([event(number, version=str(number)) for number in range(60)])))
    versions = {summary.stream.version for summary in parts.store.streams()}
    assert len(versions) == 51
    assert "other" in versions


def test_the_version_is_read_from_the_answer_where_the_request_names_none(parts: Parts) -> None:
    nameless = event(1, version="")
    answered = type(nameless.response)(body=b'{"model_version": "7", "outputs": []}')
    drain(parts.collector(records([msgspec.structs.replace(nameless, response=answered), event(2, version="")])))
    assert [summary.stream.version for summary in parts.store.streams()] == ["7", "unknown"]


def story(seed: int) -> list[Record]:
    """Events and labels of two partitions, with duplicates, errors, and labels early, late, corrected and withdrawn."""
    pick = random.Random(seed)
    streams: dict[str, list[Any]] = {"spool:a": [], "spool:b": []}
    for number in range(60):
        contents = streams[pick.choice(sorted(streams))]
        made = event(number, status=pick.choice([200] * 9 + [500]), at_s=START_S + pick.uniform(0, 4 * HOUR_S))
        if pick.random() < 0.2:
            contents.append(label(number, pick.choice([0, 1]), after_s=0.0))  # before its event
        contents.append(made)
        for _ in range(pick.choice([0, 0, 1, 2])):
            value = pick.choice([0, 1, "1", True, None])
            contents.append(label(pick.randrange(number + 1), value, after_s=pick.choice([0.0, 60.0, 120.0])))
        if pick.random() < 0.15:
            contents.append(made)
        if pick.random() < 0.05:
            contents.append(Malformed("broken", "x", b"x"))
    return [record for name, contents in streams.items() for record in records(contents, name)]


def with_a_crash(items: list[Record], pick: random.Random) -> list[Record | Crash]:
    place = pick.randrange(len(items))
    return [*items[:place], Crash(), *items[place:]]


class Rehearsed(OneWay):
    """A source that also crashes after a commit and before its acknowledgement reaches anybody."""

    def __init__(self, inner: ListSource, pick: random.Random) -> None:
        self._inner = inner
        self._pick = pick

    def poll(self, max_records: int, timeout_s: float) -> Any:
        return self._inner.poll(self._pick.randint(1, max_records), timeout_s)

    def acknowledge(self, partition: str, next_offset: int) -> None:
        if self._pick.random() < 0.1:
            raise RuntimeError("crash after the commit")


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_crashes_and_other_batches_leave_the_same_tables_as_one_clean_pass(
    parts: Parts, url: str, migrated: Path, tmp_path: Path, seed: int
) -> None:
    clean = shutil.copy(migrated, tmp_path / "clean.db")
    drain(Parts(Store(f"sqlite:///{clean}", prepare=False)).collector(story(seed)))
    run_with_crashes(parts, seed)
    assert tables(url) == tables(f"sqlite:///{clean}")


def run_with_crashes(parts: Parts, seed: int) -> None:
    pick = random.Random(seed)
    for _ in range(12):  # each turn is a new process
        source = ListSource(with_a_crash(story(seed), pick), parts.store.position)
        with contextlib.suppress(RuntimeError):
            drain(parts.collector_of(Rehearsed(source, pick)))
    drain(parts.collector(story(seed)))


def test_the_story_holds_what_it_should(parts: Parts) -> None:
    drain(parts.collector(story(0)))
    outcomes = {key.labels[2] for key in parts.store.totals() if key.metric == names.LABELS.name}
    assert {"joined", "pending", "duplicate", "corrected", "withdrawn"} <= outcomes


def test_of_two_collectors_on_one_partition_only_one_commits_a_record(parts: Parts, url: str) -> None:
    items = records([event(number) for number in range(40)])
    first, second = (parts.collector_of(ListSource(items)) for _ in range(2))
    handled = 0
    for turn in range(40):
        try:
            handled += (first, second)[turn % 2].run_once()
        except TransientError:
            continue
    assert len(tables(url)["predictions"]) == 40
    assert merged(parts.store.window_states(whole()))["rows"] == 40
    assert totals(parts, names.COLLECTOR_EVENTS) == {("stored", ""): 40}


def test_a_stale_writer_is_refused_and_goes_on_from_the_truth(parts: Parts, url: str) -> None:
    items = records([event(number) for number in range(21)])
    slow = parts.collector_of(ListSource(items))
    slow.run_once()
    drain(parts.collector(items))
    with pytest.raises(TransientError, match="moved on"):
        slow.run_once()
    drain(slow)
    assert merged(parts.store.window_states(whole()))["rows"] == 21
    assert len(tables(url)["predictions"]) == 21


class FlakyStore(Store):
    """A store whose database is away for the next ``failures`` transactions."""

    failures = 0

    def transaction(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("database", "away")
        return super().transaction()


def test_while_the_database_is_away_the_batch_waits_and_nothing_more_is_read(url: str) -> None:
    store = FlakyStore(url, prepare=False)
    parts = Parts(store)
    collector = parts.collector(records([event(number) for number in range(20)]))
    store.failures = 3
    for _ in range(3):
        with pytest.raises(UnavailableError):
            collector.run_once()
        assert collector.activity.waiting == 7
    assert drain(collector) == 20
    assert merged(store.window_states(whole()))["rows"] == 20


def test_late_events_change_a_closed_window_so_that_it_is_due_again(parts: Parts) -> None:
    drain(parts.collector(records([event(number) for number in range(30)])))
    now_s = START_S + 100 * HOUR_S
    due = parts.store.due_windows(MONITOR, now_s)
    assert [(window.key.segment, window.change) for window in due] == [("", 30), ("carrier=AA", 10), ("carrier=UA", 10)]
    for window in due:
        parts.store.save_results(window, [], [], now_s)
    assert parts.store.due_windows(MONITOR, now_s) == []
    drain(parts.collector(records([event(31, at_s=START_S + 5, carrier=["B6"], late=["1"])], "spool:9")))
    assert [window.key.segment for window in parts.store.due_windows(MONITOR, now_s)] == [""]


def test_a_window_is_not_due_before_its_lateness_is_over(parts: Parts) -> None:
    drain(parts.collector(records([event(1)])))
    assert parts.store.due_windows(MONITOR, START_S + HOUR_S + 599) == []
    assert len(parts.store.due_windows(MONITOR, START_S + HOUR_S + 600)) == 2
