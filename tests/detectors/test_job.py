"""The job, its metrics and its server, over a store made of lists."""

import json
import logging
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.error import HTTPError

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from alerts.http import MetricsScraper
from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from detectors.evaluating.metrics import ResultsCollector
from detectors.server import DetectorsService
from detectors.settings import DetectorsSettings
from driftline import names
from driftline.access import OPERATIONS_READ, Access, AccessBook, Grant, TokenEntry, digest_of, new_token
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.errors import MonitorError, SettingsError, TransientError, UnavailableError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import ColumnShape, DueWindow, Result, StreamKey, Verdict, WindowKey, WindowLabels
from driftline.settings import load
from driftline.testing import ManualClock
from tests.detectors.stored import NoHistory

STREAM = StreamKey("default", "m", "1", "stable")
LABELS = {"namespace": "default", "model": "m", "version": "1", "variant": "stable", "segment": ""}


def monitor() -> Monitor:
    return parse_monitor(
        "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\nreference: {path: r.csv}", "m.yaml"
    )


def rows(count: int, shift: float, seed: int) -> ColumnBatch:
    rng = np.random.default_rng(seed)
    return ColumnBatch(
        count, {"x": rng.normal(shift, 1, count)}, {"prediction": rng.choice(["0", "1"], count).astype(object)}
    )


def reference() -> Reference:
    batch = rows(3000, 0.0, 0)
    frame = pd.DataFrame({"x": batch.numeric["x"], "prediction": batch.text["prediction"]})
    return build_reference(frame, monitor())


@dataclass
class ListStore(NoHistory):
    """A store of windows and results in lists; ``fault`` is raised by the next look for windows."""

    states: dict[WindowKey, list[bytes]] = field(default_factory=dict)
    due: list[DueWindow] = field(default_factory=list)
    saved: list[tuple[DueWindow, Sequence[Result], Sequence[ColumnShape], float]] = field(default_factory=list)
    fault: Exception | None = None
    counted: list[WindowLabels] = field(default_factory=list)

    def due_windows(self, monitor: Monitor, now_s: float) -> Sequence[DueWindow]:
        if self.fault is not None:
            raise self.fault
        return list(self.due)

    def window_states(self, key: WindowKey) -> Sequence[bytes]:
        return self.states[key]

    def save_results(self, due, results, shapes, evaluated_at_s, labels=None) -> None:
        self.saved.append((due, results, shapes, evaluated_at_s))
        self.due.remove(due)

    def stream_windows(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[DueWindow]:
        return []

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        return []

    def window_p_values(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[float]:
        return []

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        return [each for each in self.counted if segments or not each.segment]

    def newest_results(self) -> Sequence[Result]:
        return self.saved[-1][1] if self.saved else ()

    def verdict_counts(self) -> Mapping[tuple[StreamKey, Verdict], int]:
        whole = [result for _, results, _, _ in self.saved for result in results if result.detector == "window"]
        return {
            (STREAM, verdict): sum(one.verdict is verdict for one in whole)
            for verdict in {one.verdict for one in whole}
        }


def store_with(shift: float) -> ListStore:
    key = WindowKey(STREAM, "", 0.0, 3600.0)
    counting = StatisticsEngine({"default/m": reference()})
    states = [counting.observe(monitor(), None, rows(200, shift, seed)) for seed in (1, 2)]
    truth = np.array(["1", "0"] * 75, dtype=object)
    judged = JudgedBatch(truth, np.full(150, np.nan), truth, np.ones(150, dtype=np.int64))
    states[0] = counting.judge(monitor(), states[0], judged)
    return ListStore({key: states}, [DueWindow(key, 3)])


def test_due_windows_are_merged_over_partitions_evaluated_and_saved() -> None:
    store = store_with(shift=2.0)
    job = EvaluationJob(store, {"default/m": reference()}, [monitor()], ManualClock(9000.0))
    assert job.run_once() == 1
    ((due, results, shapes, at_s),) = store.saved
    assert (due.change, at_s) == (3, 9000.0)
    (window,) = [result for result in results if result.detector == "window"]
    assert (window.verdict, window.sample_size) == (Verdict.DRIFTED, 400)
    assert {shape.column for shape in shapes} == {"x", "prediction"}
    assert job.run_once() == 0


def test_a_damaged_state_stops_nothing() -> None:
    store = store_with(shift=0.0)
    store.states[WindowKey(STREAM, "", 0.0, 3600.0)].append(b"damaged")
    assert EvaluationJob(store, {"default/m": reference()}, [monitor()], ManualClock()).run_once() == 1
    assert store.saved[0][1][-1].window.segment == ""


def test_it_says_where_what_a_device_can_do_is_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    chosen = {"multivariate": ("mmd", "domain_classifier", "energy"), "device": "cpu"}
    watched = monitor().model_copy(update={"detectors": monitor().detectors.model_copy(update=chosen)})
    EvaluationJob(store_with(shift=0.0), {"default/m": reference()}, [watched, monitor()], ManualClock())
    told = [record.getMessage() for record in caplog.records if "worked out" in record.getMessage()]
    assert told == ["monitor default/m: mmd, energy are worked out on the host"]


def test_scrapes_read_the_store_once_until_a_window_was_evaluated() -> None:
    store, clock = store_with(shift=2.0), ManualClock(9000.0)
    collector = ResultsCollector(store, clock, refresh_s=3600.0)
    job = EvaluationJob(store, {"default/m": reference()}, [monitor()], clock, collector)

    def drifting() -> int:
        (family,) = (family for family in collector.collect() if family.name == names.DRIFTED_COLUMNS.name)
        return len(family.samples)

    assert drifting() == 0
    job.run_once()
    found = drifting()
    assert found > 0
    store.saved.clear()
    assert drifting() == found  # nothing was evaluated since
    collector.evaluated(0.01)
    collector.ran(monitor())
    assert drifting() == 0


def test_every_metric_of_the_detectors_is_exported_under_its_name() -> None:
    store, clock, registry = store_with(shift=2.0), ManualClock(9000.0), CollectorRegistry(auto_describe=False)
    collector = ResultsCollector(store, clock)
    registry.register(collector)
    EvaluationJob(store, {"default/m": reference()}, [monitor()], clock, collector).run_once()

    def value(exported: names.Metric, suffix: str = "", **labels: str) -> float | None:
        return registry.get_sample_value(exported.name + suffix, labels)

    drift = {**LABELS, "column": "x", "detector": "ks"}
    assert value(names.DRIFT_STATE, **drift) == 3
    assert value(names.DRIFT_STATISTIC, **drift) == pytest.approx(0.68, abs=0.08)
    assert value(names.DRIFT_EFFECT, **drift) == pytest.approx(0.68, abs=0.08)
    assert (value(names.DRIFT_P_VALUE, **drift) or 0.0) < 1e-12
    assert value(names.DRIFTED_COLUMNS, **LABELS) == 1
    assert value(names.WINDOW_ROWS, **LABELS) == 400
    assert value(names.OUTLIER_RATIO, **LABELS) is not None
    assert value(names.PERFORMANCE, **LABELS, metric="accuracy") == 1.0
    assert (value(names.PERFORMANCE_LOWER, **LABELS, metric="accuracy") or 0.0) > 0.9
    assert value(names.PERFORMANCE_UPPER, **LABELS, metric="accuracy") == 1.0
    assert value(names.LABEL_COVERAGE, **LABELS) == 150 / 400
    stream = {name: LABELS[name] for name in names.STREAM}
    assert value(names.WINDOWS_EVALUATED, **stream, verdict="drifted") == 1
    assert value(names.WINDOWS_EVALUATED, **stream, verdict="ok") == 0
    assert value(names.DETECTORS_LAST_RUN, namespace="default", model="m") == 9000.0
    assert value(names.DETECTORS_EVALUATION, "_count") == 1


def test_accuracy_of_a_segment_is_provisional_by_its_own_labels() -> None:
    """All rows have all their labels, one segment half of its own; the third is older than counts by segment."""
    store = store_with(shift=0.0)
    (whole,) = store.states
    keys = [replace(whole, segment=name) for name in ("x=late", "x=uncounted")]
    for key in keys:
        store.states[key] = store.states[whole]
        store.due.append(DueWindow(key, 3))
    store.counted = [
        WindowLabels(STREAM, 0.0, 3600.0, 400, 400),
        WindowLabels(STREAM, 0.0, 3600.0, 200, 100, segment="x=late"),
    ]
    assert EvaluationJob(store, {"default/m": reference()}, [monitor()], ManualClock(9000.0)).run_once() == 3
    told = {
        due.key.segment: [result.reason for result in results if result.kind == "performance"]
        for due, results, _, _ in store.saved
    }
    assert {name: all("provisional" in reason for reason in reasons) for name, reasons in told.items()} == {
        "": False,
        "x=late": True,
        "x=uncounted": False,
    }
    assert all(told.values())


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def service(store: ListStore, monotonic=lambda: 0.0) -> DetectorsService:
    settings = DetectorsSettings(port=0, interval_s=0.01)
    return DetectorsService(
        settings, ManualClock(9000.0), store, store, {"default/m": reference()}, {"default/m": monitor()}, monotonic
    )


def test_the_server_answers_metrics_health_and_nothing_else() -> None:
    with service(store_with(2.0)) as running:
        assert running.round() == 1
        status, body = get(f"{running.address}/metrics")
        assert status == 200
        families = {family.name for family in text_string_to_metric_families(body)}
        assert names.DRIFT_STATE.name in families
        assert get(f"{running.address}/healthz") == (200, "ok\n")
        assert get(f"{running.address}/else")[0] == 404


def test_metrics_that_are_not_open_need_a_token_which_the_embedded_evaluation_sends() -> None:
    token = new_token()
    book = AccessBook((TokenEntry(Grant("prometheus", frozenset({OPERATIONS_READ})), digest_of(token)),))
    settings, store = DetectorsSettings(port=0, open_paths=("/healthz",)), store_with(2.0)
    with DetectorsService(
        settings, ManualClock(9000.0), store, store, {"default/m": reference()}, {"default/m": monitor()},
        access=Access(lambda: book),
    ) as running:  # fmt: skip
        url = f"{running.address}/metrics"
        status, body = get(url)
        assert (status, json.loads(body)["title"]) == (401, "Unauthorized")
        assert get(f"{running.address}/healthz")[0] == 200
        headers = {"authorization": f"Bearer {token}"}
        with MetricsScraper([url]) as nobody, MetricsScraper([url], headers=headers) as prometheus:
            assert list(nobody()) == []
            assert list(prometheus())


def test_a_store_that_is_away_fails_rounds_but_not_the_service() -> None:
    store, monotonic = store_with(2.0), ManualClock(0.0)
    store.fault = UnavailableError("database", "connection refused")
    with service(store, monotonic) as running:
        assert running.round() == 0
        monotonic.advance(61.0)
        assert get(f"{running.address}/healthz")[0] == 503
        store.fault = None
        assert running.round() == 1
        assert get(f"{running.address}/healthz")[0] == 200


def test_a_model_that_fails_every_round_keeps_no_other_waiting() -> None:
    class OneFails(ListStore):
        def due_windows(self, monitor: Monitor, now_s: float) -> Sequence[DueWindow]:
            if monitor.model == "broken":
                raise TransientError("its windows cannot be stored")
            return super().due_windows(monitor, now_s)

    filled = store_with(2.0)
    store = OneFails(filled.states, filled.due)
    broken = monitor().model_copy(update={"model": "broken"})
    job = EvaluationJob(store, {"default/m": reference()}, [broken, monitor()], ManualClock())
    for saved in (0, 1):
        with pytest.raises(TransientError):
            job.run_once()
        assert len(store.saved) == saved


def test_detectors_that_are_named_twice_are_refused() -> None:
    twice = monitor().detectors.model_copy(update={"numeric": ("ks", "psi", "ks")})
    with pytest.raises(MonitorError, match=r"detectors.numeric.2: 'ks' is named twice"):
        check_detectors(monitor().model_copy(update={"detectors": twice}))


def test_the_loop_ends_when_told() -> None:
    stop, store = threading.Event(), store_with(2.0)
    with service(store) as running:
        looping = threading.Thread(target=running.loop, args=(stop,))
        looping.start()
        stop.set()
        looping.join(timeout=60)
    assert not looping.is_alive()


def test_an_unknown_detector_is_refused_before_the_first_look() -> None:
    wrong = monitor().model_copy(update={"detectors": monitor().detectors.model_copy(update={"numeric": ("kss",)})})
    with pytest.raises(MonitorError, match="did you mean 'ks'"):
        DetectorsService(DetectorsSettings(port=0), ManualClock(), ListStore(), ListStore(), {}, {"default/m": wrong})


def test_settings_name_every_wrong_value() -> None:
    environ = {"DRIFTLINE_DETECTORS_PORT": "70000", "DRIFTLINE_DETECTORS_INTERVAL_S": "0"}
    with pytest.raises(SettingsError, match=r"port is 70000; .*interval_s 0\.0 must be above 0"):
        load(DetectorsSettings, "DETECTORS", environ=environ)


def test_states_of_two_partitions_are_what_one_stream_would_be() -> None:
    (states,) = store_with(0.0).states.values()
    merged = [WindowState.from_bytes(state) for state in states]
    assert sum(int(state.sections[reference().fingerprint].values[0]) for state in merged) == 400
