"""A backtest tells as many pages as Prometheus, the generated rules and the page desk make of the same history."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.alertmanager import inhibitions
from alerts.burn_rules import Group, burn_groups
from alerts.evaluator import Evaluator
from alerts.options import RuleOptions
from alerts.slo import Objective, objectives
from alerts.webhook import make_webhook, parse_webhook
from dashboards.page_desk import PageDesk
from detectors.offline.replaying import Replayed
from driftline import names, rule_names
from driftline.cli.backtest_alerts import Counters, decided_every_s
from driftline.cli.backtest_incidents import Incident, replayed_incidents
from driftline.errors import ReferenceDataError
from driftline.monitors import parse_monitor
from driftline.results import Alert, Page, StreamKey, Verdict, WindowKey
from driftline.testing import ManualClock
from tests.alerts.rule_tests import Expectation, Series, run_rule_test
from tests.dashboards.fakes import FakePages

DAY_S = 86400.0
MONITOR = parse_monitor(
    """
model: m
task: binary
columns: [{name: a, type: numeric}]
labels: {expected_delay: 1d}
slos:
  objectives:
    - {kind: drift, target: 0.8, severity: page}
    - {kind: correctness, target: 0.8}
""",
    "m.yaml",
)
#: Of the first, the second and so on: days that drifted, and days on which half of all answers were wrong.
DRIFTED = (*range(14, 20), *range(37, 42))
WRONG = (30, 38, 39, 40)
DAYS = 46
STEP_S = decided_every_s(MONITOR, DAYS * DAY_S)
#: No multiple up to the end is one of steps: where a window begins on a scrape Prometheus 2.42 and 3 differ.
EVALUATION_S = 2 * STEP_S - 53.0


def history() -> list[Replayed]:
    stream = StreamKey("default", "m", "", "stable")
    return [
        Replayed(
            WindowKey(stream, "", day * DAY_S, (day + 1) * DAY_S),
            Verdict.DRIFTED if day in DRIFTED else Verdict.OK,
            (),
            judged=1000,
            correct=500 if day in WRONG else 900,
        )
        for day in range(DAYS)
    ]


def decided(wanted: Sequence[Objective], series: Sequence[Series], times_s: Sequence[float]) -> list[tuple[Alert, ...]]:
    """Which alerts fire at each time, by the rules, before anything is silenced."""
    clock = ManualClock(0.0)
    evaluator = Evaluator(wanted, list, lambda _alerts: None, clock)
    fired, scraped = [], 0
    for time_s in times_s:
        for index in range(scraped, int(time_s // STEP_S) + 1):
            evaluator.observe([sample for one in series if (sample := one.at(index))], index * STEP_S)
            scraped = index + 1
        clock.now_s = time_s
        evaluator.step()
        fired.append(evaluator.firing())
    return fired


def scraped() -> list[Series]:
    windows = history()
    counters = Counters(tuple(windows), MONITOR.windows.lateness, MONITOR.labels.expected_delay)
    at = [list(counters.at(index * STEP_S)) for index in range(int((DAYS + 3) * DAY_S / STEP_S))]
    return [
        Series(first.name, first.labels, [samples[place].value for samples in at]) for place, first in enumerate(at[0])
    ]


def heard(firing: Sequence[Sequence[Alert]], times_s: Sequence[float]) -> Iterator[Alert]:
    """What gets past Alertmanager: no ticket while a page of its incident fires; each when it begins and is over."""
    assert inhibitions()[0]["equal"] == list(rule_names.INCIDENT)
    on: dict[str, Alert] = {}
    for time_s, alerts in zip(times_s, firing, strict=True):
        paged = any(alert.labels[names.SEVERITY] == names.SEVERITY_PAGE for alert in alerts)
        for alert in alerts:
            silent = paged and alert.labels[names.SEVERITY] == names.SEVERITY_TICKET
            if alert.fingerprint not in on and not silent:
                on[alert.fingerprint] = alert
                yield alert
        for over in set(on) - {alert.fingerprint for alert in alerts}:
            told = on.pop(over)
            yield Alert("resolved", told.labels, told.annotations, told.starts_at_s, time_s, told.fingerprint)


def desk_pages(notices: Iterator[Alert]) -> list[Page]:
    def evidence(_alert: Alert, _since_s: float | None) -> Page:
        raise ReferenceDataError("none is kept here")

    pages, clock = FakePages(), ManualClock(0.0)
    desk = PageDesk(pages, evidence, parse_webhook, {MONITOR.name: MONITOR}, clock, CollectorRegistry())
    for notice in notices:
        clock.now_s = notice.ends_at_s or notice.starts_at_s
        desk.receive(make_webhook([notice], "http://desk"))
    return list(pages.kept.values())


@pytest.mark.real
def test_as_many_pages_are_told_as_the_rules_and_the_desk_make(promtool: Path, tmp_path: Path) -> None:
    wanted, series = objectives(MONITOR, STEP_S), scraped()
    times_s = [index * EVALUATION_S for index in range(1, int((DAYS + 2) * DAY_S / EVALUATION_S))]
    firing = decided(wanted, series, times_s)
    options = RuleOptions(scrape_interval_s=STEP_S, evaluation_interval_s=EVALUATION_S)
    run_rule_test(
        promtool,
        tmp_path,
        {"groups": [wordless(group) for objective in wanted for group in burn_groups(objective, options)[:1]]},
        series,
        [
            Expectation(time_s, name, [silent(alert) for alert in alerts if alert.labels["alertname"] == name])
            for time_s, alerts in list(zip(times_s, firing, strict=True))[::2]
            for name in (rule_names.ALERT_OF_KIND["drift"], rule_names.ALERT_OF_KIND["correctness"])
        ],
        interval_s=STEP_S,
        evaluation_interval_s=EVALUATION_S,
    )
    found = replayed_incidents(MONITOR, history(), float("inf"))
    pages = desk_pages(heard(firing, times_s))
    assert [seen(incident) for incident in found] == [
        (page.alert.labels[names.SEVERITY], page.alert.labels[names.SLO]) for page in pages
    ]
    assert {incident.severity for incident in found} == {names.SEVERITY_PAGE, names.SEVERITY_TICKET}
    assert len(found) < sum(len(incident.alerts) for incident in found)
    for incident, page in zip(found, pages, strict=True):
        assert abs(incident.starts_at_s - page.starts_at_s) <= 2 * EVALUATION_S


def wordless(group: Group) -> Group:
    """Without the sentences, whose last digits may differ by rounding."""
    rules = [{name: value for name, value in rule.items() if name != "annotations"} for rule in group["rules"]]
    return {**group, "rules": rules}


def silent(alert: Alert) -> Alert:
    return replace(alert, annotations={})


def seen(incident: Incident) -> tuple[str, str]:
    return incident.severity, incident.lead.alert.labels[names.SLO]
