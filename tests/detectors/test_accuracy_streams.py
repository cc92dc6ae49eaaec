"""The sequential test of accuracy over stored windows: what enters, once, what it says, and what labels cannot do."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.accuracy_tests import BUDGET, ENTERED, STANDING, AccuracyTests
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from detectors.evaluating.metrics import _accuracy_test_metrics
from detectors.offline.files import OfflineWindows, Span
from detectors.online.contract import Counted
from detectors.online.e_cusum import ECusum
from detectors.online.share_bounds import bounds
from driftline import names
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.errors import MonitorError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import ALL_ROWS, Result, StreamKey, Verdict, WindowKey, WindowLabels
from driftline.testing import ManualClock
from tests.detectors.stored import DAY, STREAM, Windows

ROWS = 200


def monitor(accuracy: str = "{test: e_cusum}", task: str = "binary", more: str = "") -> Monitor:
    return parse_monitor(
        f"model: m\ntask: {task}\ncolumns: [{{name: x, type: numeric}}, {{name: town, type: categorical}}]\n"
        "segments: [town]\nreference: {path: r.csv, label: y}\nwindows: {lateness: 1h}\n"
        f"labels: {{expected_delay: 1d, maturity: 3d, mature_share: 0.9}}\ndetectors: {{accuracy: {accuracy}}}\n{more}",
        "m.yaml",
    )


def frame(rows: int, wrong: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    said = rng.choice(["0", "1"], rows)
    truth = np.where(rng.random(rows) < wrong, np.where(said == "0", "1", "0"), said)
    towns = rng.choice(["Bern", "Chur"], rows, p=[0.7, 0.3])
    return pd.DataFrame({"x": rng.normal(0, 1, rows), "town": towns, "prediction": said, "y": truth})


REFERENCE: Reference = build_reference(frame(4000, 0.1, 0), monitor())
COUNTING = StatisticsEngine({"default/m": REFERENCE})


def judged(rows: pd.DataFrame, weight: int = 1) -> JudgedBatch:
    said, truth = (rows[name].to_numpy(dtype=object) for name in ("prediction", "y"))
    return JudgedBatch(said, np.full(len(rows), np.nan), truth, np.full(len(rows), weight, dtype=np.int64))


@dataclass
class Labelled(Windows):
    """A store of windows with labels; ``labelled`` counts them."""

    rows: dict[WindowKey, int] = field(default_factory=dict)
    labelled: dict[WindowKey, int] = field(default_factory=dict)

    def predictions(self, day: int, rows: pd.DataFrame) -> None:
        texts = {name: rows[name].to_numpy(dtype=object) for name in ("town", "prediction")}
        batch = ColumnBatch(len(rows), {"x": rows["x"].to_numpy()}, texts)
        key = window(day)
        self.states[key] = COUNTING.observe(monitor(), self.states.get(key), batch)
        self.rows[key] = self.rows.get(key, 0) + len(rows)
        self.changes[key] = self.changes.get(key, 0) + len(rows)

    def labels(self, day: int, rows: pd.DataFrame, weight: int = 1) -> None:
        key = window(day)
        self.states[key] = COUNTING.judge(monitor(), self.states[key], judged(rows, weight))
        self.labelled[key] = self.labelled.get(key, 0) + weight * len(rows)
        self.changes[key] += 1

    def label_windows(self, *_: object, **__: object) -> Sequence[WindowLabels]:
        return [
            WindowLabels(key.stream, key.start_s, key.end_s, self.rows[key], self.labelled.get(key, 0), {}, key.segment)
            for key in sorted(self.rows)
        ]

    def detector_results(
        self, stream: StreamKey, segment: str, prefix: str, since_s: float, until_s: float
    ) -> Sequence[Result]:
        keys = [key for key in sorted(self.kept) if key.segment == segment and since_s <= key.start_s < until_s]
        return [each for key in keys for each in self.kept[key] if each.detector.startswith(prefix)]

    def of(self, day: int, prefix: str) -> Result | None:
        found = [each for each in self.kept[window(day)] if each.detector.startswith(prefix)]
        return found[0] if found else None


def window(day: int) -> WindowKey:
    return WindowKey(STREAM, ALL_ROWS, day * DAY, (day + 1) * DAY)


def job(store: Windows, day: float, of: Monitor | None = None) -> EvaluationJob:
    """Evaluates as at so many days after 1970."""
    return EvaluationJob(store, {"default/m": REFERENCE}, [of or monitor()], ManualClock(day * DAY + 3700.0))


def falling(days: int = 16, since: int = 10, wrong: float = 0.2) -> tuple[Labelled, list[pd.DataFrame]]:
    """Days of which all have their labels, some days wrong more often."""
    store = Labelled()
    rows = [frame(ROWS, wrong if day >= since else 0.1, 50 + day) for day in range(days)]
    for day, each in enumerate(rows):
        store.predictions(day, each)
        store.labels(day, each)
    return store, rows


def entered(store: Labelled) -> list[int]:
    return [int(key.start_s / DAY) for key in sorted(store.kept) if store.of(int(key.start_s / DAY), ENTERED)]


def test_it_is_the_test_of_shares_on_wrong_predictions_and_says_since_when() -> None:
    store, rows = falling()
    job(store, 16).run_once()
    wrong = [Counted(np.array([float((day["prediction"] != day["y"]).sum())]), ROWS) for day in rows]
    known = REFERENCE.performance[ALL_ROWS].values
    limits = bounds(np.array([float(known[0] - known[1])]), int(known[0]), confidence=0.99, families=3)
    by_hand = ECusum(type(limits)(np.zeros(1), limits.upper), 90.0 * 3)
    state = by_hand.start()
    for day, seen in enumerate(wrong):
        state = by_hand.step(state, seen)
        result = store.of(day, STANDING)
        assert result is not None
        assert result.verdict is (Verdict.WARNING if by_hand.alarm(state) else Verdict.OK), day
    assert state.alarms == 1
    last = store.of(15, STANDING)
    assert last is not None
    assert last.effect is not None
    assert 0.05 < last.effect.lower < 0.1 < last.effect.upper < 0.15
    assert "accuracy fell: wrong predictions are" in last.reason
    assert "since 1970-01-11" in last.reason
    budget = store.of(15, BUDGET)
    assert budget is not None
    assert (budget.kind, budget.statistic) == ("budget", 1.0)
    assert "1 alarm began here in the last 90d" in budget.reason


def test_a_window_waits_for_its_labels_and_for_those_before_it() -> None:
    store = Labelled()
    rows = [frame(ROWS, 0.1, day) for day in range(3)]
    for day, each in enumerate(rows):
        store.predictions(day, each)
    store.labels(1, rows[1])
    running = job(store, 3)
    running.run_once()
    assert entered(store) == []
    newest = store.of(2, STANDING)
    assert newest is not None
    assert newest.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    store.labels(0, rows[0].iloc[:170])
    running.run_once()
    assert entered(store) == []  # 85 % of the labels, 90 % are asked for
    store.labels(0, rows[0].iloc[170:185])
    running.run_once()
    assert entered(store) == [0, 1]
    first = store.of(0, ENTERED)
    assert first is not None
    wrong = (rows[0]["prediction"] != rows[0]["y"])[:185].sum()
    assert (first.sample_size, first.statistic) == (ROWS, wrong / ROWS)  # those missing count as right


def test_the_time_limit_alone_lets_a_window_in_and_the_newest_is_told() -> None:
    store = Labelled()
    rows = [frame(ROWS, 0.1, day) for day in range(3)]
    for day, each in enumerate(rows):
        store.predictions(day, each)
    store.labels(0, rows[0].iloc[:40])
    running = job(store, 3)
    running.run_once()
    assert entered(store) == []
    later = job(store, 4.1)  # day 0 ended three days ago; nothing is due
    assert not store.due_windows(monitor(), 4.2 * DAY)
    assert later.run_once() == 2
    assert entered(store) == [0]
    found, newest = store.of(0, ENTERED), store.of(2, STANDING)
    assert found is not None
    assert found.sample_size == 40
    assert newest is not None
    assert "that of 1970-01-01 00:00 UTC" in newest.reason
    assert later.run_once() == 0
    assert job(store, 4.1).run_once() == 0  # nor does a process that remembers nothing


def test_labels_that_come_or_are_corrected_later_change_accuracy_and_not_the_test() -> None:
    store, rows = falling(12, 12)
    job(store, 12).run_once()
    before = {day: store.of(day, ENTERED) for day in range(12)}
    told = store.of(11, STANDING)
    store.labels(5, rows[5], -1)
    store.labels(5, rows[5].assign(y="2"))
    assert job(store, 12).run_once() == 1
    assert {day: store.of(day, ENTERED) for day in range(12)} == before
    assert store.of(11, STANDING) == told
    assert store.result(5, "", "accuracy").statistic < 0.6
    for day in range(12, 14):
        more = frame(ROWS, 0.1, 50 + day)
        store.predictions(day, more)
        store.labels(day, more)
    job(store, 14).run_once()
    as_entered, fresh = store.of(13, STANDING), Labelled()
    for day in range(14):
        each = frame(ROWS, 0.1, 50 + day)
        fresh.predictions(day, each)
        fresh.labels(day, each)
    job(fresh, 14).run_once()
    assert as_entered == fresh.of(13, STANDING)


def test_a_window_that_is_seen_after_a_later_one_entered_never_does() -> None:
    store, _ = falling(4, 9)
    del store.states[window(1)], store.rows[window(1)], store.labelled[window(1)]
    job(store, 4).run_once()
    assert entered(store) == [0, 2, 3]
    late = frame(ROWS, 1.0, 1)
    store.predictions(1, late)
    store.labels(1, late)
    for _ in range(2):
        job(store, 9).run_once()
    assert entered(store) == [0, 2, 3]


def test_day_by_day_is_the_same_as_all_at_once_whoever_remembers() -> None:
    together, rows = falling()
    job(together, 16).run_once()
    store, clock = Labelled(), ManualClock(3700.0)
    running = EvaluationJob(store, {"default/m": REFERENCE}, [monitor()], clock)
    for day, each in enumerate(rows):
        store.predictions(day, each)
        store.labels(day, each)
        clock.advance(DAY)
        if day % 5 == 4:
            running = EvaluationJob(store, {"default/m": REFERENCE}, [monitor()], clock)
        running.run_once()
        running.run_once()
    assert [store.of(day, STANDING) for day in range(16)] == [together.of(day, STANDING) for day in range(16)]


def test_what_was_not_kept_is_not_relied_on() -> None:
    store, _ = falling(6, 3)
    running = job(store, 6)
    store.full = True
    with pytest.raises(OSError, match="disk full"):
        running.run_once()
    store.full = False
    assert running.run_once() == 6
    fresh, _ = falling(6, 3)
    job(fresh, 6).run_once()
    assert [store.of(day, STANDING) for day in range(6)] == [fresh.of(day, STANDING) for day in range(6)]


def test_a_floor_needs_no_reference_and_no_labels_of_one() -> None:
    given = monitor("{test: betting, floor: 0.7, margin: 0.02}")
    tests = AccuracyTests(given, None)
    assert tests.asked
    assert tests.segments == (ALL_ROWS,)
    watched = tests.watched(ALL_ROWS)
    assert watched is not None
    assert watched.test.bounds.upper.tolist() == pytest.approx([0.32])
    assert not AccuracyTests(monitor(), None).asked
    store, _ = falling(30, 5, 0.6)
    job(store, 30, given).run_once()
    last = store.of(29, STANDING)
    assert last is not None
    assert "at most 32 % allowed" in last.reason
    assert last.effect is not None
    assert last.effect.lower < 0.3 < last.effect.upper


def test_files_say_the_same_as_the_store() -> None:
    store, rows = falling()
    job(store, 16).run_once()
    whole = pd.concat([each.assign(at=day * DAY + 60.0) for day, each in enumerate(rows)], ignore_index=True)
    offline = OfflineWindows(monitor(), REFERENCE, STREAM, Span(0.0, 16 * DAY, "at"))
    offline.add(whole)
    found = {
        result.window.start_s: result
        for result in offline.evaluate().results
        if result.detector.startswith(STANDING) and result.window.segment == ALL_ROWS
    }
    assert [found[day * DAY] for day in range(16)] == [store.of(day, STANDING) for day in range(16)]


def test_metrics_show_evidence_and_alarm_of_the_newest_window() -> None:
    store, _ = falling()
    job(store, 16).run_once()
    families = {family.name: family for family in _accuracy_test_metrics(store.kept[window(15)])}
    (alarm,), (evidence,) = (families[each.name].samples for each in (names.ACCURACY_ALARM, names.ACCURACY_EVIDENCE))
    assert alarm.value == 1.0
    assert alarm.labels == {"namespace": "default", "model": "m", "version": "1", "variant": "stable", "segment": "",
                            "detector": "e_cusum"}  # fmt: skip
    assert evidence.value > 1.0


@pytest.mark.parametrize(
    ("accuracy", "task", "said"),
    [
        ("{test: e_cusum, false_pages: 1 per 1d}", "binary", "detectors.accuracy.false_pages: allows a false alarm"),
        ("{test: e_cusum, floor: 0.9}", "regression", "floor of a regression needs a tolerance"),
        ("{test: e_cusum, tolerance: 3}", "binary", "tolerance is for regressions"),
        ("{test: e_cusums}", "binary", "detectors.accuracy.test: must be one of e_cusum"),
    ],
)
def test_what_makes_no_test_is_refused(accuracy: str, task: str, said: str) -> None:
    with pytest.raises(MonitorError, match=said.replace(".", r"\.")):
        check_detectors(monitor(accuracy, task))


def test_a_state_of_no_labels_enters_as_nothing() -> None:
    tests = AccuracyTests(monitor(), REFERENCE)
    fold = tests.start(ALL_ROWS)
    assert fold is not None
    counted = tests.entry(ALL_ROWS, WindowState().section("0" * 16), None, 0.0)
    assert counted.rows == 0
    after = tests.step(fold, window(0), counted)
    assert tests.results(after, window(0))[0].verdict is Verdict.OK
    assert tests.results(fold, window(0))[0].verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert tests.start("town=Paris") is None
