"""What the other rooms read from the store: the same answers on every database."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection

from collector.batches.payloads import PayloadWriter
from collector.store.store import Store
from detectors.baselines.history import KeptWindows, WindowHistory
from driftline.errors import PermanentError, SettingsError, UnavailableError
from driftline.results import (
    Alert,
    ColumnShape,
    DueWindow,
    Interval,
    Page,
    Result,
    StreamKey,
    Verdict,
    WindowKey,
)
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records, tables
from tests.collector.payload_rows import read_payloads

STREAM = StreamKey("default", "flights", "3", "stable")


def window(hour: int = 0, segment: str = "") -> WindowKey:
    return WindowKey(STREAM, segment, START_S + hour * HOUR_S, START_S + (hour + 1) * HOUR_S)


def result(key: WindowKey, column: str, verdict: Verdict = Verdict.OK, **changes: object) -> Result:
    fields: dict[str, object] = {
        "window": key,
        "column": column,
        "detector": "ks",
        "kind": "drift",
        "statistic": 0.25,
        "direction": "larger_is_worse",
        "verdict": verdict,
        "reason": "because",
        "sample_size": 100,
        "reference_size": 2000,
        "p_value": 0.5,
        "effect": Interval(0.1, 0.05, 0.2),
        "coverage": 0.75,
        "reference_value": 1.5,
    }
    return Result(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def filled(parts: Parts) -> Store:
    drain(parts.collector(records([event(number) for number in range(130)])))
    return parts.store


def test_results_come_back_as_they_were_saved(filled: Store) -> None:
    bare = result(window(), "b", p_value=None, effect=None, coverage=None, reference_value=None)
    odd = result(window(), "c", statistic=math.nan, effect=Interval(math.inf, math.nan, 1.0))
    heavy = result(window(), "a", heavy_tails=True)
    filled.save_results(DueWindow(window(), 60), [bare, heavy, odd], [], 5.0)
    first, second, third = filled.results(STREAM, 0.0, math.inf)
    assert (first, second) == (heavy, bare)
    assert math.isnan(third.statistic)
    assert third.effect is not None
    assert math.isnan(third.effect.lower)


def test_numbers_of_numpy_are_kept_as_numbers(filled: Store) -> None:
    one = np.float64(0.25)
    fields = ("statistic", "p_value", "coverage", "reference_value")
    numpy = {**dict.fromkeys(fields, one), "effect": Interval(one, one, one), "sample_size": np.int64(7)}
    filled.save_results(DueWindow(window(), 60), [result(window(), "a", **numpy)], [], 5.0)
    (found,) = filled.results(STREAM, 0.0, math.inf)
    plain = {**dict.fromkeys(fields, 0.25), "effect": Interval(0.25, 0.25, 0.25), "sample_size": 7}
    assert found == result(window(), "a", **plain)


def test_only_the_newest_revision_is_shown_but_every_one_is_kept(filled: Store, url: str) -> None:
    filled.save_results(DueWindow(window(), 1), [result(window(), "a"), result(window(), "gone")], [], 5.0)
    newer = result(window(), "a", Verdict.DRIFTED)
    filled.save_results(DueWindow(window(), 2), [newer], [], 6.0)
    assert filled.results(STREAM, 0.0, math.inf) == [newer]
    assert sorted(dict(row)["revision"] for row in tables(url)["results"]) == [1, 1, 2]


def test_results_touch_the_asked_time_and_are_in_the_promised_order(filled: Store) -> None:
    keys = [window(2), window(1, "carrier=AA"), window(1), window(0)]
    for key in keys:
        filled.save_results(DueWindow(key, 1), [result(key, "b"), result(key, "a")], [], 5.0)
    found = filled.results(STREAM, START_S + HOUR_S, START_S + 2 * HOUR_S)
    assert [(one.window.segment, one.column) for one in found] == [
        ("", "a"),
        ("", "b"),
        ("carrier=AA", "a"),
        ("carrier=AA", "b"),
    ]
    newest = filled.newest_results()
    assert {(one.window.segment, one.window.start_s) for one in newest} == {
        ("", START_S + 2 * HOUR_S),
        ("carrier=AA", START_S + HOUR_S),
    }


def test_the_first_verdict_on_drift_counts_once_and_is_never_revised(filled: Store) -> None:
    whole = result(window(), "", Verdict.WARNING, detector="whole")
    filled.save_results(DueWindow(window(), 1), [whole, result(window(), "a", Verdict.DRIFTED)], [], 5.0)
    filled.save_results(DueWindow(window(), 2), [result(window(), "", Verdict.DRIFTED)], [], 6.0)
    other = window(1)
    filled.save_results(DueWindow(other, 1), [result(other, "a", Verdict.DRIFTED), result(other, "b")], [], 5.0)
    segment = window(1, "carrier=AA")
    filled.save_results(DueWindow(segment, 1), [result(segment, "a")], [], 5.0)
    filled.save_results(DueWindow(window(2), 1), [], [], 5.0)
    assert filled.verdict_counts() == {
        (STREAM, Verdict.WARNING): 1,
        (STREAM, Verdict.DRIFTED): 1,
        (STREAM, Verdict.NOT_ENOUGH_EVIDENCE): 1,
    }


def test_shapes_come_back_in_order_and_follow_the_newest_revision(filled: Store) -> None:
    shapes = [
        ColumnShape("z", ("< 1", ">= 1"), (0.5, 0.5), (0.25, 0.75)),
        ColumnShape("a", ("AA",), (1.0,), (1.0,)),
    ]
    filled.save_results(DueWindow(window(), 1), [], shapes, 5.0)
    assert filled.shapes(window()) == shapes
    filled.save_results(DueWindow(window(), 2), [], shapes[:1], 6.0)
    assert filled.shapes(window()) == shapes[:1]
    assert filled.shapes(window(7)) == []


def test_results_for_a_stream_nobody_saw_are_refused(store: Store) -> None:
    with pytest.raises(PermanentError, match="unknown stream"):
        store.save_results(DueWindow(window(), 1), [], [], 5.0)


def test_samples_show_wrong_rows_then_outliers_then_the_newest(parts: Parts) -> None:
    near = {"carrier": ["AA"], "late": ["1"], "score": [0.5]}
    events = [
        event(1, distance=[1000.0], **near),
        event(2, distance=[4000.0], **near),
        event(3, distance=[1000.0], **near),
        event(4, distance=[1000.0], **near),
        event(5, distance=["inf"], **near),
    ]
    drain(parts.collector(records(events)))
    desk = parts.desk()
    desk.submit([label(1, 0), label(4, 1)])
    found = parts.store.samples(STREAM, START_S, START_S + HOUR_S, 4)
    assert [sample.request_id for sample in found] == ["request-1", "request-2", "request-4", "request-3"]
    assert (found[0].prediction, found[0].label, found[0].columns) == ("1", "0", {"distance": 1000.0, "carrier": "AA"})
    assert found[1].outlier_score == 3.0
    everything = parts.store.samples(STREAM, START_S, START_S + HOUR_S, 10)
    assert everything[-1].columns["distance"] == "inf"


def test_however_many_are_wrong_half_of_the_samples_are_the_others_furthest_out(parts: Parts) -> None:
    plain = {"carrier": ["AA"], "late": ["1"], "score": [0.5]}
    events = [event(number, distance=[1000.0 + 100.0 * (number >= 20) * number], **plain) for number in range(30)]
    drain(parts.collector(records(events)))
    desk = parts.desk()
    desk.submit([label(number, 0) for number in range(20)])
    found = parts.store.samples(STREAM, START_S, START_S + HOUR_S, 7)
    numbers = [int(sample.request_id.removeprefix("request-")) for sample in found]
    assert [number < 20 for number in numbers] == [True] * 4 + [False] * 3
    assert numbers[4:] == [29, 28, 27]


def test_streams_are_summed_over_partitions(parts: Parts) -> None:
    drain(parts.collector(records([event(1), event(2)], "spool:a") + records([event(0), event(9)], "spool:b")))
    (summary,) = parts.store.streams()
    assert (summary.rows, summary.first_event_s, summary.last_event_s) == (4, START_S, START_S + 540)
    assert len(parts.store.window_states(window())) == 2


def test_the_windows_of_a_stream_come_oldest_first_with_the_changes_of_all_partitions(parts: Parts) -> None:
    sent = [event(number) for number in range(0, 130, 10)]
    drain(parts.collector(records(sent[::2], "spool:a") + records(sent[1::2], "spool:b")))
    end_s = START_S + 3 * HOUR_S
    found = parts.store.stream_windows(STREAM, "", 0.0, end_s)
    assert [each.key.start_s for each in found] == [START_S, START_S + HOUR_S, START_S + 2 * HOUR_S]
    due = {each.key: each.change for each in parts.store.due_windows(MONITOR, math.inf)}
    assert {each.key: each.change for each in found} == {key: due[key] for key in due if not key.segment}
    inner = parts.store.stream_windows(STREAM, "", START_S + 1, end_s - 1)
    assert [each.key.start_s for each in inner] == [START_S + HOUR_S]
    assert not parts.store.stream_windows(StreamKey("default", "none", "", ""), "", 0.0, end_s)


def test_p_values_of_whole_windows_are_those_of_the_newest_revisions(parts: Parts) -> None:
    drain(parts.collector(records([event(number) for number in range(0, 190, 10)], "spool:a")))
    for hour, revisions in ((1, (0.5, 0.25)), (0, (0.125,)), (2, (None,))):
        for p_value in revisions:
            kept = [
                result(window(hour), "", p_value=p_value, detector="window"),
                result(window(hour), "a", p_value=0.01),
            ]
            parts.store.save_results(DueWindow(window(hour), 1), kept, [], 5.0)
    assert list(parts.store.window_p_values(STREAM, "", START_S, START_S + 3 * HOUR_S)) == [0.125, 0.25]
    assert list(parts.store.window_p_values(STREAM, "", START_S, START_S + HOUR_S)) == [0.125]
    assert list(parts.store.window_p_values(STREAM, "carrier=AA", START_S, START_S + 3 * HOUR_S)) == []


def test_results_by_the_beginning_of_their_detectors_are_those_of_the_newest_revisions(parts: Parts) -> None:
    drain(parts.collector(records([event(number) for number in range(0, 190, 10)], "spool:a")))
    for hour in (1, 0, 1):
        kept = [
            result(window(hour), "", detector=name, kind="sequential")
            for name in ("entered:wrong predictions", "entered", "accuracy_alarm:e_cusum")
        ]
        parts.store.save_results(DueWindow(window(hour), 1), kept, [], 5.0)
    found = parts.store.detector_results(STREAM, "", "entered:", START_S, START_S + 2 * HOUR_S)
    assert [(each.window, each.detector) for each in found] == [
        (window(hour), "entered:wrong predictions") for hour in (0, 1)
    ]
    assert not parts.store.detector_results(STREAM, "", "e%", START_S, START_S + 2 * HOUR_S)
    assert len(parts.store.detector_results(STREAM, "", "entered:", START_S, START_S + HOUR_S)) == 1
    assert not parts.store.detector_results(STREAM, "carrier=AA", "entered:", START_S, START_S + 2 * HOUR_S)


def test_past_windows_and_their_states_are_those_of_a_history_in_memory(parts: Parts) -> None:
    canary = StreamKey("default", "flights", "4", "canary")
    sent = [event(number) for number in range(0, 130, 10)]
    others = [msgspec.structs.replace(event(number, version="4"), variant="canary") for number in range(5, 130, 10)]
    drain(parts.collector(records(sent, "spool:a") + records(others, "spool:b")))
    store, keys = parts.store, parts.store.window_keys("default", "flights", 0.0, math.inf)
    assert {key.stream for key in keys} == {STREAM, canary}
    assert [key.start_s for key in keys] == sorted(key.start_s for key in keys)
    assert store.window_keys("default", "flights", START_S + 1, START_S + 2 * HOUR_S) == [
        key for key in keys if key.start_s == START_S + HOUR_S
    ]
    verdicts = {key: Verdict.DRIFTED if key.start_s == START_S else Verdict.OK for key in keys if not key.segment}
    for key, verdict in verdicts.items():
        store.save_results(DueWindow(key, 1), [result(key, "", verdict)], [], 5.0)
    memory: WindowHistory = KeptWindows({key: store.window_states(key) for key in keys}, verdicts)
    starts = [START_S, START_S + HOUR_S, START_S - HOUR_S]
    for history in (store, memory):
        found = history.past_windows(STREAM, "", starts)
        assert [(one.start_s, one.end_s - one.start_s, one.verdict) for one in found] == [
            (START_S, HOUR_S, Verdict.DRIFTED),
            (START_S + HOUR_S, HOUR_S, Verdict.OK),
        ]
        assert list(history.past_windows(STREAM, "carrier=AA", starts)) == []
        assert list(history.past_states(STREAM, "", [])) == []
    for segment in ("", "carrier=AA"):
        here = window(0, segment)
        assert sorted(store.past_states(STREAM, segment, starts)) == sorted(memory.past_states(STREAM, segment, starts))
        assert store.past_states(STREAM, segment, starts)
        assert store.variant_windows(here, "canary") == memory.variant_windows(here, "canary")
        assert list(store.variant_windows(here, "shadow")) == []
        assert sorted(store.variant_states(here, "canary")) == sorted(memory.variant_states(here, "canary"))
        assert store.variant_states(here, "canary")
        assert list(store.variant_states(here, "shadow")) == list(memory.variant_states(here, "shadow")) == []


def test_pages_come_back_whole_newest_first(store: Store) -> None:
    alert = Alert("firing", {"model": "flights"}, {"summary": "x"}, 1.0, None, "abc")
    pages = [
        Page(str(place), alert, float(place), "moved", STREAM, drifted=(result(window(), "a", statistic=math.inf),))
        for place in range(3)
    ]
    for page in pages:
        store.save_page(page)
    store.save_page(pages[0])
    assert store.pages(2) == [pages[2], pages[1]]
    assert store.page("0") == pages[0]
    assert store.page("x") is None


def test_a_store_that_is_not_there_is_unavailable_by_name() -> None:
    store = Store("postgresql://nobody@127.0.0.1:1/none", prepare=False)
    assert not store.ready()
    with pytest.raises(UnavailableError, match="database is unavailable"):
        store.streams()


# --- payload files ------------------------------------------------------------------------------------------------
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(UnavailableError, match=f"^database is unavailable: {tmp_path}/folder.db: unable to open"):
        Store(f"sqlite:///{tmp_path}/folder.db")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=f"directory '{tmp_path}/file' cannot be made: File exists"):
        Store(f"sqlite:///{tmp_path}/file/store.db")


def test_payload_rows_say_what_the_events_said(parts: Parts, tmp_path: Path) -> None:
    directory = tmp_path / "payloads"
    parts.payloads = PayloadWriter(directory)
    drain(parts.collector(records([event(number) for number in range(40)])))
    files = parts.store.payload_files()
    assert sum(file.rows for file in files) == 40
    assert sum(pq.read_metadata(directory / file.path).num_rows for file in files) == 40
    table = read_payloads(directory, files, MONITOR, START_S + 600, START_S + 1200)
    assert table["_request_id"].to_pylist() == [f"request-{number}" for number in range(10, 20)]
    assert table["distance"].to_pylist() == [100.0 * number for number in range(10, 20)]
    assert table["_prediction"].to_pylist() == ["0", "1"] * 5


def test_a_replay_writes_the_same_files_and_orphans_are_swept(parts: Parts, tmp_path: Path) -> None:
    directory = tmp_path / "payloads"
    parts.payloads = PayloadWriter(directory)
    items = records([event(number) for number in range(7)])
    parts.collector(items).run_once()
    before = sorted(directory.rglob("*.parquet"))
    orphan = before[0].with_name("orphan.parquet")
    orphan.write_bytes(b"x")
    assert parts.payloads.sweep(parts.store.payload_files(), age_s=-1.0) == 1
    assert sorted(directory.rglob("*.parquet")) == before


def test_a_disk_that_takes_no_payload_is_counted_and_the_rows_are_stored(
    parts: Parts, tmp_path: Path, url: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    parts.payloads = PayloadWriter(tmp_path / "file")
    drain(parts.collector(records([event(1)])))
    assert len(tables(url)["predictions"]) == 1
    counts = {key.metric: value for key, value in parts.store.totals().items()}
    assert counts["driftline_collector_payload_failures_total"] == 1


def test_who_works_alone_goes_on_with_one_connection(store: Store) -> None:
    """Each connection to SQLite has a page cache of its own: taking turns would fill all of them."""

    def driver(connection: Connection) -> int:
        return id(connection.connection.dbapi_connection)

    with store.reading() as one, store.reading() as two, store.reading() as three:
        assert len({driver(one), driver(two), driver(three)}) == 3
    assert len({store.read(driver) for _ in range(6)}) == 1
