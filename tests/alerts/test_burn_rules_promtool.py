"""The generated burn-rate rules as Prometheus decides them: what fires, what does not, and why."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alerts.burn import windows
from alerts.burn_rules import burn_groups
from alerts.evaluator import Evaluator
from alerts.options import RuleOptions
from alerts.slo import Objective, objectives
from driftline import names, rule_names
from driftline.results import Alert
from driftline.testing import ManualClock
from tests.alerts.examples import monitor
from tests.alerts.rule_tests import Expectation, Series, counter, run_rule_test

pytestmark = pytest.mark.real

HOUR_S = 3600.0
LABEL_STEP_S = 300.0
LABELS_PER_HOUR = 12
SCRAPE_S = 60.0
SCRAPES_PER_HOUR = 60
STREAM = {"namespace": "default", "model": "flight-delay", "version": "1", "variant": "stable"}


def _objective(kind: str, sampling_s: float = 15.0) -> Objective:
    return next(found for found in objectives(monitor("flight-delay"), sampling_s) if found.kind == kind)


def _judged(bad_per_step: Sequence[float], all_per_step: float) -> list[Series]:
    good = [all_per_step - bad for bad in bad_per_step]
    metric = names.JUDGED_PREDICTIONS.name
    return [
        Series(metric, {**STREAM, "outcome": "incorrect"}, counter(bad_per_step)),
        Series(metric, {**STREAM, "outcome": "correct"}, counter(good)),
    ]


def _requests(bad_per_step: Sequence[float], all_per_step: Sequence[float]) -> list[Series]:
    metric = names.SIDECAR_REQUESTS.name
    good = [every - bad for bad, every in zip(bad_per_step, all_per_step, strict=True)]
    return [
        Series(metric, {**STREAM, "protocol": "v2", "code": "503"}, counter(bad_per_step)),
        Series(metric, {**STREAM, "protocol": "v2", "code": "200"}, counter(good)),
    ]


def _step_s(objective: Objective) -> float:
    return LABEL_STEP_S if objective.kind == "correctness" else SCRAPE_S


def _end_s(objective: Objective, series: Sequence[Series]) -> float:
    """Half a step after the last sample, so that no window begins or ends on one (2.42 and 3 differ there)."""
    return (len(series[0].values) - 0.5) * _step_s(objective)


def _embedded(objective: Objective, series: Sequence[Series]) -> tuple[Alert, ...]:
    """What the embedded evaluation says at the end."""
    clock = ManualClock()
    evaluator = Evaluator([objective], list, lambda _alerts: None, clock)
    for index in range(len(series[0].values)):
        evaluator.observe(
            [sample for one in series if (sample := one.at(index)) is not None], index * _step_s(objective)
        )
    clock.advance(_end_s(objective, series))
    evaluator.step()
    return evaluator.firing()


def _prometheus_agrees(
    promtool: Path,
    directory: Path,
    objective: Objective,
    series: Sequence[Series],
    alerts: Sequence[Alert],
    rules: dict[str, Any] | None = None,
) -> None:
    end_s = _end_s(objective, series)
    expected = Expectation(end_s, rule_names.ALERT_OF_KIND[objective.kind], alerts)
    rules = rules or {"groups": burn_groups(objective, RuleOptions())}
    run_rule_test(
        promtool,
        directory,
        rules,
        series,
        [expected],
        interval_s=_step_s(objective),
        evaluation_interval_s=end_s,  # only the end matters, and thousands of evaluations take long
    )


def _severities(alerts: Sequence[Alert]) -> list[str]:
    return [f"{alert.labels['severity']} {alert.labels['window']}" for alert in alerts]


JUDGED_CASES = {
    "fast burn pages, and the slow ticket fires too": ([4.5] * 30 * LABELS_PER_HOUR, ["page 1d", "ticket 3d"]),
    "just below the page's threshold only the ticket fires": ([3.9] * 30 * LABELS_PER_HOUR, ["ticket 3d"]),
    "a burn that is over is no page": (
        [9.0] * 24 * LABELS_PER_HOUR + [0.0] * 3 * LABELS_PER_HOUR,
        ["ticket 3d"],
    ),
    "a burn that has just begun is no page": (
        [0.5] * 24 * LABELS_PER_HOUR + [10.0] * 2 * LABELS_PER_HOUR,
        [],
    ),
    "within the objective nothing fires": ([1.5] * 80 * LABELS_PER_HOUR, []),
    "nothing bad at all": ([0.0] * 30 * LABELS_PER_HOUR, []),
}


@pytest.mark.parametrize("case", JUDGED_CASES)
def test_correctness(case: str, promtool: Path, tmp_path: Path) -> None:
    bad, expected = JUDGED_CASES[case]
    objective, series = _objective("correctness"), _judged(bad, 10.0)
    alerts = _embedded(objective, series)
    assert _severities(alerts) == expected
    _prometheus_agrees(promtool, tmp_path, objective, series, alerts)


REQUEST_CASES = {
    # 2 % of many requests failed: 20 times the budget.
    "an outage pages in both fast windows": (
        [20.0] * 2 * SCRAPES_PER_HOUR,
        1000.0,
        ["page 1h", "page 6h", "ticket 1d", "ticket 3d"],
    ),
    # 1 of 25: 4 % is far beyond 1.44 %, and yet one event proves nothing.
    "one bad event of few does nothing": ([0.0] * 20 + [1.0] + [0.0] * 4, 1.0, []),
    # 2 of 100: for the page it may be chance, for the tickets it is evidence.
    "two bad events of few are a ticket": (
        [0.0] * 10 + [1.0] + [0.0] * 12 + [1.0, 0.0],
        4.0,
        ["ticket 3d"],
    ),
}


@pytest.mark.parametrize("case", REQUEST_CASES)
def test_availability(case: str, promtool: Path, tmp_path: Path) -> None:
    bad, per_step, expected = REQUEST_CASES[case]
    objective, series = _objective("availability"), _requests(bad, [per_step] * len(bad))
    alerts = _embedded(objective, series)
    assert _severities(alerts) == expected
    _prometheus_agrees(promtool, tmp_path, objective, series, alerts)


def test_a_ticket_objective_turns_pages_into_tickets(promtool: Path, tmp_path: Path) -> None:
    slos = {found.kind: found for found in objectives(monitor("house-price"), 15.0)}
    stream = {**STREAM, "namespace": "homes", "model": "house_price.v2"}
    series = [
        Series(one.name, {**one.labels, **stream}, one.values)
        for one in _requests([500.0] * 2 * SCRAPES_PER_HOUR, [1000.0] * 2 * SCRAPES_PER_HOUR)
    ]
    alerts = _embedded(slos["availability"], series)
    assert {alert.labels["severity"] for alert in alerts} == {"ticket"}
    assert len(alerts) == len(windows(slos["availability"]))
    _prometheus_agrees(promtool, tmp_path, slos["availability"], series, alerts)


def test_a_version_that_has_had_no_error_yet_counts_as_none_bad(promtool: Path, tmp_path: Path) -> None:
    objective = _objective("availability")
    series = _requests([0.0] * 24, [10.0] * 24)[1:]
    assert _embedded(objective, series) == ()
    _prometheus_agrees(promtool, tmp_path, objective, series, [])


# --- mutations: each condition of an alert is needed --------------------------------------------------------------
def _mutated(objective: Objective, part: int) -> dict[str, Any]:
    """The rules without one of the conditions after the first: 1 the proof in the long window, 2 the short window."""
    groups = copy.deepcopy(burn_groups(objective, RuleOptions()))
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                conditions = rule["expr"].split("\nand\n")
                assert len(conditions) == 3
                rule["expr"] = "\nand\n".join(conditions[:part] + conditions[part + 1 :])
    return {"groups": groups}


@pytest.mark.parametrize(
    ("kind", "bad", "per_step", "dropped"),
    [
        ("correctness", [9.0] * 24 * LABELS_PER_HOUR + [0.0] * 3 * LABELS_PER_HOUR, 10.0, 2),
        ("correctness", [0.5] * 24 * LABELS_PER_HOUR + [10.0] * 2 * LABELS_PER_HOUR, 10.0, 1),
        ("availability", [0.0] * 20 + [1.0] + [0.0] * 4, 1.0, 1),
    ],
    ids=["without the short window", "without the long window", "without the guard"],
)
def test_no_condition_can_be_dropped_unnoticed(
    kind: str, bad: list[float], per_step: float, dropped: int, promtool: Path, tmp_path: Path
) -> None:
    objective = _objective(kind)
    series = _judged(bad, per_step) if kind == "correctness" else _requests(bad, [per_step] * len(bad))
    alerts = _embedded(objective, series)
    _prometheus_agrees(promtool, tmp_path, objective, series, alerts)
    with pytest.raises(AssertionError, match="FAILED"):
        _prometheus_agrees(promtool, tmp_path, objective, series, alerts, _mutated(objective, dropped))


@pytest.mark.parametrize("minutes", [0, 1])
def test_an_alert_of_drift_stands_until_the_next_verdict_though_that_comes_late(
    promtool: Path, tmp_path: Path, minutes: int
) -> None:
    """One verdict per window of six hours, every second one a minute late: just before it none fell for 361 minutes."""
    objective, window = _objective("drift", SCRAPE_S), 360
    falls = {window * number + number % 2 for number in range(1, 20)}
    rises = [float(minute in falls) for minute in range(window * 19 + minutes)]
    series = [Series(names.WINDOWS_EVALUATED.name, {**STREAM, "verdict": "drifted"}, counter(rises))]
    alerts = _embedded(objective, series)
    assert alerts
    _prometheus_agrees(promtool, tmp_path, objective, series, alerts)
