"""How complete labels are: exact counts per window, estimates, revisions, history; each through the API."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from collector.labels.completeness import LabelGauges
from collector.labels.desk import LabelDesk
from driftline import names
from driftline.results import Result, StreamKey, Verdict, WindowKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records
from tests.collector.test_api import FixedHealth, make_app

STREAM = StreamKey("default", "flights", "3", "stable")
WINDOW = WindowKey(STREAM, "", START_S, START_S + HOUR_S)


@pytest.fixture
def desk(parts: Parts) -> LabelDesk:
    return parts.desk()


@pytest.fixture
def client(parts: Parts) -> TestClient:
    parts.clock.now_s = START_S + HOUR_S
    drain(parts.collector(records([event(number) for number in range(90)])))  # 60 in the first hour, 30 in the second
    return TestClient(make_app(parts, parts.store, FixedHealth()))


def test_every_window_tells_rows_labels_and_delays(client: TestClient, parts: Parts, desk: LabelDesk) -> None:
    desk.submit([label(number, 1) for number in range(40)])
    parts.clock.advance(100.0)
    desk.submit([label(number, 0, after_s=9000.0) for number in range(10)])  # corrections: no first labels
    desk.submit([label(0, None, after_s=9001.0)])
    first, second = client.get("/v1/coverage", params={"model": "flights"}).json()
    assert (first["rows"], first["labelled"], first["coverage"]) == (60, 39, 0.65)
    assert (second["rows"], second["labelled"], second["delay_p50_s"]) == (30, 0, None)
    assert first["delay_p50_s"] == pytest.approx(2896.3, abs=0.1)  # class of 40 to 48 minutes
    assert (first["maturity"], first["mature"]) == (None, False)
    parts.clock.advance(8 * 24 * HOUR_S)
    first, _ = client.get("/v1/coverage", params={"model": "flights"}).json()
    assert (first["maturity"], first["mature"]) == (1.0, True)
    assert client.get("/v1/coverage", params={"model": "nobody"}).status_code == 404
    assert client.get("/v1/coverage", params={"model": "flights", "limit": 1}).json()[0]["rows"] == 30
    assert client.get("/v1/coverage", params={"model": "flights", "since_s": START_S + 3 * HOUR_S}).json() == []


def test_every_segment_tells_its_own_rows_labels_and_delays(client: TestClient, parts: Parts, desk: LabelDesk) -> None:
    """Rows of AA and UA (every third one each) are watched apart, those of DL only among all."""
    desk.submit([label(number, 1) for number in range(0, 60, 3)])  # all of AA's first hour, none of UA's
    parts.clock.advance(3 * HOUR_S)
    desk.submit([label(number, 1) for number in range(1, 31, 3)])  # half of UA's, much later
    desk.submit([label(1, 0, after_s=9000.0), label(4, None, after_s=9000.0)])
    asked = {"model": "flights", "segments": "true"}
    found = client.get("/v1/coverage", params=asked).json()
    told = {(one["segment"], one["start_s"] - START_S): one for one in found}
    assert {place: (one["rows"], one["labelled"]) for place, one in told.items()} == {
        ("", 0.0): (60, 29),
        ("", HOUR_S): (30, 0),
        ("carrier=AA", 0.0): (20, 20),
        ("carrier=AA", HOUR_S): (10, 0),
        ("carrier=UA", 0.0): (20, 9),
        ("carrier=UA", HOUR_S): (10, 0),
    }
    early, late, whole = (told[name, 0.0] for name in ("carrier=AA", "carrier=UA", ""))
    assert (early["coverage"], early["mature"], late["coverage"], late["mature"]) == (1.0, True, 0.45, False)
    assert early["delay_p95_s"] < 2 * HOUR_S < 3 * HOUR_S < late["delay_p50_s"]
    assert sum(each["labels"] for each in late["delays"]) == 10
    assert {each["up_to_s"]: each["labels"] for each in whole["delays"]} == {
        each["up_to_s"]: each["labels"] for one in (early, late) for each in one["delays"]
    }
    one = client.get("/v1/coverage", params={"model": "flights", "segment": "carrier=UA", "limit": 5}).json()
    assert one == [told["carrier=UA", 0.0], told["carrier=UA", HOUR_S]]
    assert [each["segment"] for each in client.get("/v1/coverage", params={"model": "flights"}).json()] == ["", ""]


def test_each_revision_of_a_window_is_kept_with_its_results(client: TestClient, parts: Parts, desk: LabelDesk) -> None:
    for labelled in (0, 7):
        desk.submit([label(number, 1) for number in range(labelled)])
        parts.clock.advance(10 * HOUR_S)
        now_s = parts.clock()
        (due,) = [each for each in parts.store.due_windows(MONITOR, now_s) if each.key == WINDOW]
        # An estimate without labels counts all rows.
        estimate = replace(accuracy(10), detector="estimated_accuracy", coverage=None)
        parts.store.save_results(due, [accuracy(labelled), estimate], [], now_s)
    ends = (str(WINDOW.start_s), str(WINDOW.end_s))
    stream = {"model": "flights", "version": "3", "start_s": ends[0], "end_s": ends[1]}
    first, second = client.get("/v1/windows/revisions", params=stream).json()
    assert [(one["revision"], one["labelled"]) for one in (first, second)] == [(1, 0), (2, 7)]
    assert first["results"][0]["statistic"] is None
    assert (second["results"][0]["sample_size"], second["evaluated_at_s"]) == (7, START_S + 21 * HOUR_S)
    assert client.get("/v1/windows/revisions", params={**stream, "segment": "x=y"}).json() == []


def accuracy(labelled: int) -> Result:
    return Result(
        window=WINDOW,
        column="",
        detector="accuracy",
        kind="performance",
        statistic=0.5 if labelled else float("nan"),
        direction="smaller_is_worse",
        verdict=Verdict.OK,
        reason="",
        sample_size=labelled,
        coverage=labelled / 10,
    )


def test_every_label_of_a_request_can_be_read_again(client: TestClient, desk: LabelDesk) -> None:
    for value, after_s in ((1, 10), (1, 5), (0, 20), (None, 30)):
        desk.submit([label(1, value, after_s=after_s)])
    found = client.get("/v1/labels", params={"model": "flights", "request_id": "request-1"}).json()
    assert [(one["revision"], one["value"], one["wrong"]) for one in found] == [
        (1, "1", False),
        (2, "0", True),
        (3, None, None),
    ]
    assert client.get("/v1/labels", params={"model": "flights", "request_id": "request-99"}).json() == []


def test_gauges_say_what_is_to_come(client: TestClient, parts: Parts, desk: LabelDesk) -> None:
    desk.submit([label(number, 1) for number in range(95)])
    parts.clock.advance(2 * HOUR_S)
    registry = CollectorRegistry()
    registry.register(LabelGauges(parts.store, {MONITOR.name: MONITOR}, parts.clock))
    named = {"namespace": "default", "model": "flights"}
    stream = {**named, "version": "3", "variant": "stable", "segment": ""}
    assert registry.get_sample_value(names.LABELS_WAITING.name, named) == 5
    assert registry.get_sample_value(names.IMMATURE_WINDOWS.name, stream) == 0  # all labels are in
    assert registry.get_sample_value(names.LABEL_MATURITY.name, stream) is None


def test_gauges_tell_segments_apart(client: TestClient, parts: Parts, desk: LabelDesk) -> None:
    desk.submit([label(number, 1) for number in range(0, 90, 3)])  # AA's
    parts.clock.advance(2 * HOUR_S)
    model = {"namespace": "default", "model": "flights"}
    stream = {**model, "version": "3", "variant": "stable"}

    def gauges() -> tuple[list[float | None], list[float | None]]:
        registry = CollectorRegistry()
        registry.register(LabelGauges(parts.store, {MONITOR.name: MONITOR}, parts.clock))
        segments = ("", "carrier=AA", "carrier=UA")
        delay, counted = names.LABEL_DELAY_EXPECTED.name, names.IMMATURE_WINDOWS.name
        immature = [registry.get_sample_value(counted, {**stream, "segment": name}) for name in segments]
        asked = [{**model, "segment": name, "share": "0.95"} for name in segments]
        return immature, [registry.get_sample_value(delay, each) for each in asked]

    assert gauges() == ([2, 0, 2], [None, None, None])
    parts.clock.advance(8 * 24 * HOUR_S)
    immature, ends = gauges()
    assert immature == [0, 0, 0]
    assert ends[0] == ends[1]  # thirty labels are too few for delays of their own
    assert ends[0] is not None
    assert 1800.0 < ends[0] <= 2 * HOUR_S
