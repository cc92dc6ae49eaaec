"""Sequential tests over stored windows: what they say, what late events change, and that nothing is hidden."""

import pandas as pd
import pytest

from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.job import EvaluationJob
from detectors.evaluating.metrics import _window_metrics
from detectors.evaluating.sequential import SequentialTests
from detectors.offline.files import OfflineWindows, Span
from driftline import names
from driftline.errors import MonitorError
from driftline.monitors import Monitor
from driftline.results import Verdict, WindowKey
from driftline.testing import ManualClock
from tests.detectors.stored import DAY, REFERENCE, STREAM, Windows, monitor, rows


def job(store: Windows, day: int, of: Monitor | None = None) -> EvaluationJob:
    return EvaluationJob(store, {"default/m": REFERENCE}, [of or monitor()], ManualClock((day + 2) * DAY))


def drifting(quiet: int = 12, moved: int = 6, shift: float = 0.6) -> Windows:
    store = Windows()
    for day in range(quiet + moved):
        store.add(day, rows(150, shift if day >= quiet else 0.0, 100 + day))
    return store


def fresh(store: Windows, day: int) -> Windows:
    """What somebody who remembers nothing makes of the same windows."""
    again = Windows(dict(store.states), dict(store.changes))
    job(again, day).run_once()
    return again


def said(store: Windows) -> dict[float, list[tuple[str, str, float, str, str]]]:
    return {
        key.start_s: sorted((each.column, each.detector, each.statistic, each.verdict, each.reason) for each in found)
        for key, found in store.kept.items()
    }


def test_a_test_that_learns_decides_as_the_others_do() -> None:
    store = drifting()
    job(store, 17, monitor("{tests: [e_pooled]}")).run_once()
    assert store.result(11, "x", "online:e_pooled").verdict is Verdict.OK
    moved = store.result(17, "x", "online:e_pooled")
    assert moved.verdict is Verdict.DRIFTED
    assert "since 1970-01-13" in moved.reason
    assert store.result(17, "town", "online:e_pooled").verdict is Verdict.OK


def test_an_alarm_says_what_moved_since_when_and_the_whole_window_says_so_too() -> None:
    store = drifting()
    job(store, 17).run_once()
    quiet, moved = store.result(11, "x", "online:e_cusum"), store.result(17, "x", "online:e_cusum")
    assert quiet.verdict is Verdict.OK
    assert quiet.statistic < 1.0
    assert "x is as expected" in quiet.reason
    assert moved.verdict is Verdict.DRIFTED
    assert moved.statistic >= 1.0
    assert "since 1970-01-13" in moved.reason
    assert moved.effect is not None
    assert 0.1 < moved.effect.lower < 0.236 < moved.effect.upper < 0.4  # Phi(0.3) - Phi(-0.3)
    assert store.result(17, "town", "online:e_cusum").verdict is Verdict.OK
    whole = store.result(17, "", "window")
    assert whole.verdict is Verdict.DRIFTED
    assert "over all windows so far: x: values below" in whole.reason
    assert store.result(11, "", "window").verdict is Verdict.OK


def test_the_budget_is_split_over_columns_segments_and_time_and_shown() -> None:
    store = drifting()
    job(store, 17).run_once()
    # 90 windows, three columns with the prediction, all rows and two towns
    assert SequentialTests(monitor(), REFERENCE).threshold == pytest.approx(90 * 3 * 3)
    budget = store.result(17, "", "online:e_cusum")
    assert budget.kind == "budget"
    assert budget.statistic == 1.0
    assert "1 alarm began here in the last 90d" in budget.reason
    assert "3 columns and 3 segments" in budget.reason
    assert store.result(11, "", "online:e_cusum").statistic == 0.0


def test_tests_that_do_not_decide_say_drifted_only_where_the_first_does() -> None:
    store = drifting(moved=20, shift=1.5)
    job(store, 31, monitor("{tests: [e_cusum, betting], margin: 0.0}")).run_once()
    assert store.result(31, "x", "online:betting").verdict is Verdict.DRIFTED
    margin = Windows(dict(store.states), dict(store.changes))
    wide = monitor("{tests: [betting, e_cusum], false_pages: 1 per 3000000d}")
    job(margin, 16, wide).run_once()
    assert margin.result(15, "x", "online:betting").verdict is Verdict.OK
    assert margin.result(15, "x", "online:e_cusum").verdict is Verdict.WARNING


def test_day_by_day_is_the_same_as_all_at_once() -> None:
    store, together, clock = Windows(), drifting(), ManualClock(DAY)
    running = EvaluationJob(store, {"default/m": REFERENCE}, [monitor()], clock)
    for day in range(18):
        key = WindowKey(STREAM, "", day * DAY, (day + 1) * DAY)
        store.states[key], store.changes[key] = together.states[key], together.changes[key]
        clock.advance(DAY)
        if day == 7:  # a new process, which remembers nothing
            running = EvaluationJob(store, {"default/m": REFERENCE}, [monitor()], clock)
        assert running.run_once() == 1
    job(together, 17).run_once()
    assert said(store) == said(together)


def test_late_events_change_what_every_later_window_says() -> None:
    store = drifting()
    running = job(store, 17)
    running.run_once()
    store.saved.clear()
    store.add(8, rows(400, 0.6, 7))
    running.run_once()
    assert [key.start_s / DAY for key in store.saved][-1] == 8
    assert {key.start_s / DAY for key in store.saved} <= set(range(8, 18))
    assert len(store.saved) > 5
    assert said(store) == said(fresh(store, 17))
    assert running.run_once() == 0


def test_labels_change_nothing_that_is_sequential_and_no_other_window() -> None:
    store = drifting()
    running = job(store, 17)
    running.run_once()
    before, store.saved = said(store), []
    for remembering in (running, job(store, 17)):
        store.label(5)
        assert remembering.run_once() == 1
    assert [key.start_s / DAY for key in store.saved] == [5, 5]
    assert store.sequential(5)
    assert {day: store.sequential(day) for day in range(18)} == {
        day: fresh(store, 17).sequential(day) for day in range(18)
    }
    assert before.keys() == said(store).keys()


def test_what_was_not_kept_is_not_relied_on() -> None:
    store = drifting(quiet=6, moved=0)
    running = job(store, 17)
    store.full = True
    with pytest.raises(OSError, match="disk full"):
        running.run_once()
    store.full = False
    assert running.run_once() == 6
    assert said(store) == said(fresh(store, 17))


def test_windows_that_are_gone_begin_the_fold_anew() -> None:
    store = drifting(quiet=6, moved=0)
    running = job(store, 17)
    running.run_once()
    first = min(store.states)
    del store.states[first], store.changes[first], store.kept[first]
    store.add(6, rows(150, 0.0, 30))
    running.run_once()
    assert len(store.sequential(6)) == 7
    assert store.sequential(6) == fresh(store, 17).sequential(6)


def test_the_fold_begins_anew_at_a_restart() -> None:
    of, store = monitor("{tests: [e_cusum], restart: 10d}"), drifting(quiet=4, moved=7)
    job(store, 17, of).run_once()
    assert store.result(9, "x", "online:e_cusum").verdict is Verdict.DRIFTED
    assert "1970-01-11" in store.result(10, "x", "online:e_cusum").reason or (
        store.result(10, "x", "online:e_cusum").verdict is Verdict.OK
    )


def test_segments_have_folds_of_their_own_and_unknown_ones_none() -> None:
    store = drifting(quiet=2, moved=0)
    store.add(1, rows(150, 2.0, 5), segment="town=Bern")
    store.add(1, rows(150, 2.0, 5), segment="town=Genf")
    job(store, 17).run_once()
    segment = next(key for key in store.kept if key.segment == "town=Bern")
    found = {each.column: each for each in store.kept[segment] if each.detector == "online:e_cusum"}
    assert found["x"].verdict is Verdict.DRIFTED
    assert store.result(1, "x", "online:e_cusum").verdict is Verdict.OK
    unknown = next(key for key in store.kept if key.segment == "town=Genf")
    assert not [each for each in store.kept[unknown] if each.detector.startswith("online:")]


def test_a_monitor_that_does_not_ask_gets_what_it_had() -> None:
    asked, silent = drifting(quiet=3, moved=0), drifting(quiet=3, moved=0)
    job(asked, 17).run_once()
    without = monitor().model_copy(update={"detectors": type(monitor().detectors)()})
    job(silent, 17, without).run_once()
    for key, results in silent.kept.items():
        assert list(results) == [each for each in asked.kept[key] if not each.detector.startswith("online:")]


def test_files_say_the_same_as_traffic() -> None:
    store = drifting(quiet=8, moved=4)
    job(store, 17).run_once()
    offline = OfflineWindows(monitor(), REFERENCE, STREAM, Span(0.0, 0.0, "at"))
    frames = []
    for day in range(12):
        batch = rows(150, 0.6 if day >= 8 else 0.0, 100 + day)
        at = pd.Timestamp(day * DAY + 60, unit="s", tz="UTC")
        frames.append(pd.DataFrame({**batch.numeric, **batch.text, "at": at}))
    offline.add(pd.concat(frames, ignore_index=True))
    found = [each for each in offline.evaluate().results if each.detector.startswith("online:")]
    ours = [each for each in found if not each.window.segment]
    assert ours == [each for day in range(12) for each in store.sequential(day)]
    assert any(each.verdict is Verdict.DRIFTED for each in ours)


@pytest.mark.parametrize(
    ("online", "fault"),
    [
        ("{tests: [e_cusm]}", "did you mean 'e_cusum'"),
        ("{tests: [e_cusum, e_cusum]}", "named twice"),
        ("{tests: [e_cusum], false_pages: 1 per 1d}", "fewer than two windows of 1d"),
    ],
)
def test_what_cannot_be_promised_is_refused(online: str, fault: str) -> None:
    with pytest.raises(MonitorError, match=fault):
        check_detectors(monitor(online))


@pytest.mark.parametrize("budget", ["often", "0 per 90d", "1 per fortnight", "inf per 1d", "1"])
def test_a_budget_that_is_none_is_refused_where_the_monitor_is_read(budget: str) -> None:
    with pytest.raises(MonitorError, match=r"detectors\.online\.false_pages"):
        monitor(f"{{tests: [e_cusum], false_pages: '{budget}'}}")


def test_the_budget_is_a_metric_and_drifted_columns_are_still_those_of_the_window() -> None:
    store = drifting()
    job(store, 17).run_once()
    newest = store.kept[max(store.kept)]
    families = {family.name: family for family in _window_metrics(newest)}
    (spent,) = families[names.ALARM_BUDGET_SPENT.name].samples
    assert (spent.labels["detector"], spent.value) == ("online:e_cusum", 1.0)
    (drifted,) = families[names.DRIFTED_COLUMNS.name].samples
    assert drifted.value == store.result(17, "", "window").statistic
