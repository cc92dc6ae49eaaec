"""Classics that a monitor names: beside a test with a promise, for comparison, never deciding."""

import pytest

from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.job import EvaluationJob
from driftline.errors import MonitorError
from driftline.results import Verdict
from driftline.testing import ManualClock
from tests.detectors.stored import DAY, REFERENCE, Windows, monitor, rows

NAMED = "{tests: [e_cusum, page_hinkley, adwin, kswin, hddm_a, hddm_w, ddm]}"


def evaluated(days: int, moved: int, online: str = NAMED) -> Windows:
    store = Windows()
    for day in range(days):
        store.add(day, rows(200, 1.0 if day >= moved else 0.0, 300 + day))
    EvaluationJob(store, {"default/m": REFERENCE}, [monitor(online)], ManualClock((days + 2) * DAY)).run_once()
    return store


def test_every_classic_answers_on_the_columns_it_is_defined_for_and_says_that_it_promises_nothing() -> None:
    store = evaluated(44, 40)
    kept = [each for each in store.sequential(43) if each.kind == "drift" and each.detector != "online:e_cusum"]
    by_column = {column: [each.detector for each in kept if each.column == column] for column in ("x", "town")}
    of_shares = ["online:hddm_a", "online:hddm_w", "online:ddm"]
    assert by_column["x"] == ["online:page_hinkley", "online:adwin", "online:kswin", *of_shares]
    assert by_column["town"] == of_shares
    assert all("for comparison, without a promise about false alarms" in each.reason for each in kept)
    assert {each.verdict for each in kept} <= {Verdict.OK, Verdict.WARNING, Verdict.NOT_ENOUGH_EVIDENCE}


def test_an_alarm_is_a_warning_that_says_what_moved_since_when() -> None:
    store = evaluated(44, 40)
    alarms = [
        each
        for day in range(40, 44)
        for each in store.sequential(day)
        if each.detector == "online:page_hinkley" and each.verdict is Verdict.WARNING
    ]
    assert alarms
    assert alarms[0].column == "x"
    assert alarms[0].reason.startswith("x: page_hinkley alarms, the mean moved since 1970-02-10 00:00 UTC, 1 alarm in")
    assert alarms[0].statistic == 1.0


def test_what_needs_more_windows_says_so() -> None:
    store = evaluated(12, 12)
    assert store.result(5, "x", "online:adwin").verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "adwin needs 11 windows and saw 6" in store.result(5, "x", "online:adwin").reason
    assert store.result(11, "x", "online:adwin").verdict is Verdict.OK


def test_a_classic_changes_nothing_of_what_decides() -> None:
    with_classics, without = evaluated(44, 40), evaluated(44, 40, "{tests: [e_cusum]}")
    for day in (39, 43):
        ours = {
            (each.column, each.detector): each
            for each in with_classics.kept[with_classics.result(day, "", "window").window]
        }
        theirs = without.kept[without.result(day, "", "window").window]
        assert all(ours[each.column, each.detector] == each for each in theirs)


@pytest.mark.parametrize(
    ("online", "fault"),
    [
        ("{tests: [adwin]}", "'adwin' promises nothing and cannot decide"),
        ("{tests: [e_cusum, eddm]}", "'eddm' needs single events in their order"),
        ("{tests: [e_cusum, adwim]}", "did you mean 'adwin'"),
        ("{tests: [e_cusum, ddm, ddm]}", "'ddm' is named twice"),
    ],
)
def test_what_cannot_be_is_refused(online: str, fault: str) -> None:
    with pytest.raises(MonitorError, match=fault):
        check_detectors(monitor(online))
