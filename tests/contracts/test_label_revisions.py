"""From labels over the collector and the detectors to the page of a window: each room the real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from collector.store.store import Store
from dashboards.settings import WebSettings
from dashboards.web import create_app
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from driftline.monitors import Monitor
from driftline.results import Alert, Page, WindowKey
from driftline.testing import ManualClock
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records
from tests.dashboards.fakes import FakePages

DETECTED = Monitor.model_validate(
    {**MONITOR.model_dump(mode="json", exclude_defaults=True), "windows": {"size": "1h", "minimum_rows": 5}}
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    yield store
    store.close()


def no_evidence(_alert: Alert) -> Page:
    raise NotImplementedError


def test_labels_that_come_late_revise_their_window_until_it_is_final(store: Store) -> None:
    clock = ManualClock(START_S + 3 * HOUR_S)
    statistics = StatisticsEngine({})
    parts = Parts(store, clock, statistics, monitors={DETECTED.name: DETECTED})  # type: ignore[arg-type]
    drain(parts.collector(records([event(number) for number in range(60)])))
    desk = parts.desk()
    job = EvaluationJob(store, {}, [DETECTED], clock)
    assert job.run_once() > 0
    for first, last, hours in ((0, 20, 1), (20, 60, 24)):
        clock.advance(hours * HOUR_S)
        desk.submit([label(number, number % 2) for number in range(first, last)])
        assert job.run_once() > 0
    assert job.run_once() == 0
    stream = store.streams()[0].stream
    key = WindowKey(stream, "", START_S, START_S + HOUR_S)
    revisions = store.revisions(key)
    assert [(one.number, one.rows, one.labelled, one.mature) for one in revisions] == [
        (1, 60, 0, False),
        (2, 60, 20, False),
        (3, 60, 60, True),
    ]
    accuracy = [result for one in revisions for result in one.results if result.detector == "accuracy"]
    assert [result.coverage for result in accuracy] == pytest.approx([0.0, 1 / 3, 1.0])
    assert ["provisional" in result.reason for result in accuracy] == [True, True, False]
    app = create_app(store, FakePages(), no_evidence, lambda _: [], {DETECTED.name: DETECTED}, clock, WebSettings())
    page = TestClient(app).get(f"/models/default/flights/windows/{int(START_S)}").text
    assert "accuracy is final" in page
    assert page.count("<td>final</td>") == 1
