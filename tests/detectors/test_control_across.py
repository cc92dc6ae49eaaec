"""Control of false alarms across the windows of a stream: levels from stored results, and what is shown of them."""

import pytest

from detectors.error_control.across import control, fold
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.job import EvaluationJob
from detectors.offline.files import evaluate_in_order
from driftline.errors import MonitorError
from driftline.results import Result, Verdict
from driftline.testing import ManualClock
from tests.detectors.stored import DAY, REFERENCE, Windows, monitor, rows

NO_TESTS = "{tests: []}"


def controlled(across: str = "{across: lord}", days: int = 8, moved_from: int = 6) -> tuple[Windows, EvaluationJob]:
    store = Windows()
    for day in range(days):
        store.add(day, rows(150, 2.0 if day >= moved_from else 0.0, 50 + day))
    of = monitor(NO_TESTS, across)
    return store, EvaluationJob(store, {"default/m": REFERENCE}, [of], ManualClock((days + 2) * DAY))


def budgets(store: Windows) -> list[Result]:
    return [each for key in sorted(store.kept) for each in store.kept[key] if each.kind == "budget"]


def test_each_window_is_decided_at_the_level_that_the_ones_before_leave() -> None:
    store, job = controlled()
    job.run_once()
    whole = [store.result(day, "", "window") for day in range(8)]
    p_values = [each.p_value for each in whole]
    assert all(value is not None for value in p_values)
    procedure = control("lord", 0.01 / 3, None)  # all rows and two towns
    for day, each in enumerate(whole):
        state = fold(procedure, [value or 0.0 for value in p_values[:day]])
        assert f"decided at {procedure.level(state):.2g}, which lord leaves to it" in each.reason
        budget = store.result(day, "", "control:lord")
        assert budget.statistic == procedure.spent(state)
        assert f"by {day} windows before" in budget.reason
    assert [each.verdict is Verdict.DRIFTED for each in whole] == [False] * 6 + [True] * 2


def test_a_window_that_the_level_is_too_small_for_is_not_drifted_though_it_would_be_alone() -> None:
    store, job = controlled(days=0)
    alone, by_itself = controlled("{}", days=0)
    for each in (store, alone):
        each.add(0, rows(150, 0.31, 51))
    job.run_once()
    by_itself.run_once()
    p_value = store.result(0, "", "window").p_value
    assert p_value is not None
    assert 0.1 * 0.01 / 3 < p_value < 0.01
    assert store.result(0, "", "window").verdict is Verdict.OK
    assert alone.result(0, "", "window").verdict is not Verdict.OK


def test_a_monitor_that_names_no_control_keeps_what_it_had() -> None:
    store, job = controlled("{inside: benjamini_hochberg, across: none}")
    plain, other = controlled("{}")
    job.run_once()
    other.run_once()
    assert store.kept == plain.kept
    assert not budgets(store)
    assert store.result(0, "", "window").p_value is None


def test_day_by_day_is_the_same_as_all_at_once_and_late_events_decide_anew() -> None:
    store, job = controlled("{across: saffron, half_life: 30d}")
    job.run_once()
    again, clock = Windows(), ManualClock(DAY)
    for day in range(8):
        again.add(day, rows(150, 2.0 if day >= 6 else 0.0, 50 + day))
        clock.advance(DAY)
        of = monitor(NO_TESTS, "{across: saffron, half_life: 30d}")
        EvaluationJob(again, {"default/m": REFERENCE}, [of], clock).run_once()
    assert again.kept == store.kept
    store.add(3, rows(400, 2.0, 9))
    assert job.run_once() == 1
    assert store.result(3, "", "window").verdict is Verdict.DRIFTED
    assert store.result(3, "", "control:saffron").statistic == again.result(3, "", "control:saffron").statistic


def test_with_sequential_tests_the_windows_are_decided_in_order_of_time() -> None:
    store, clock = Windows(), ManualClock(10 * DAY)
    for day in range(6):
        store.add(day, rows(150, 1.0 if day >= 3 else 0.0, 50 + day))
    job = EvaluationJob(store, {"default/m": REFERENCE}, [monitor(control="{across: lord}")], clock)
    job.run_once()
    store.saved.clear()
    store.add(2, rows(300, 1.0, 9))
    job.run_once()
    assert store.saved == sorted(store.saved)
    assert len(store.saved) > 1


def test_control_begins_anew_at_a_restart() -> None:
    store, job = controlled("{across: lord, restart: 4d}")
    job.run_once()
    assert [int(each.reason.split(" windows before")[0].split()[-1]) for each in budgets(store)] == [0, 1, 2, 3] * 2


def test_files_and_replays_are_decided_at_the_same_levels() -> None:
    store, job = controlled()
    job.run_once()
    evaluator = Evaluator(monitor(NO_TESTS, "{across: lord}"), REFERENCE, default_bridge())
    states = {key: (state,) for key, state in store.states.items()}
    assert {key: tuple(found.results) for key, found in evaluate_in_order(evaluator, states)} == store.kept


@pytest.mark.parametrize("inside", ["benjamini_yekutieli", "e_bh"])
def test_columns_may_hang_together_in_any_way(inside: str) -> None:
    store, job = controlled(f"{{inside: {inside}}}")
    job.run_once()
    assert store.result(0, "x", "ks").verdict is Verdict.OK
    assert store.result(7, "x", "ks").verdict is Verdict.DRIFTED


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("{across: lordd}", "did you mean 'lord'"),
        ("{inside: benjamini_hochber}", "did you mean 'benjamini_hochberg'"),
        ("{across: addis, half_life: 30d}", "half_life is for across: lord or saffron"),
        ("{half_life: 30d}", r"half_life is for across: lord or saffron \(found none\)"),
    ],
)
def test_what_control_cannot_do_is_refused(said: str, fault: str) -> None:
    with pytest.raises(MonitorError, match=fault):
        monitor(NO_TESTS, said)
