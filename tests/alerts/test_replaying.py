"""A replay tells what the embedded evaluation decides, step by step."""

from collections.abc import Iterable

import pytest

from alerts.evaluator import Evaluator, Sample
from alerts.replaying import CountersAt, notices
from alerts.slo import objectives
from driftline import names
from driftline.monitors import parse_monitor

HOUR_S = 3600.0
STEP_S = 600.0
MONITOR = parse_monitor(
    "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\nwindows: {size: 1h}\n"
    "slos: {objectives: [{kind: drift, target: 0.95, severity: page}]}",
    "m.yaml",
)


def counters(drifted: range) -> CountersAt:
    def at(now_s: float) -> Iterable[Sample]:
        hours = int(now_s // HOUR_S)
        bad = len([hour for hour in drifted if hour <= hours])
        labels = dict(zip(names.STREAM, ("default", "m", "1", "stable"), strict=True))
        for verdict, value in (("ok", hours - bad), ("drifted", bad)):
            yield Sample(names.WINDOWS_EVALUATED.name, {**labels, names.VERDICT: verdict}, float(value))

    return at


@pytest.mark.parametrize("drifted", [range(0), range(40, 60), range(30, 400, 3)])
def test_what_is_told_begins_where_the_decision_first_falls(drifted: range) -> None:
    until_s = 100 * HOUR_S
    wanted = objectives(MONITOR, STEP_S)
    found = notices(wanted, counters(drifted), 0.0, until_s, STEP_S)
    decided, now_s, first = Evaluator(wanted, tuple, lambda alerts: None, lambda: 0.0), 0.0, None
    while now_s <= until_s and first is None:
        decided.observe(counters(drifted)(now_s), now_s)
        if any(decision.firing for decision in decided.evaluate(now_s)):
            first = now_s
        now_s += STEP_S
    assert (found[0].starts_at_s if found else None) == first
    assert (first is None) == (len(drifted) == 0)


def test_each_alert_is_told_once_when_it_fires_and_once_when_it_is_over() -> None:
    found = notices(objectives(MONITOR, STEP_S), counters(range(30, 50)), 0.0, 180 * HOUR_S, STEP_S)
    told: dict[str, list[str]] = {}
    for notice in found:
        told.setdefault(notice.fingerprint, []).append(notice.status)
    assert told
    assert all(statuses == ["firing", "resolved"] for statuses in told.values())
    still = notices(objectives(MONITOR, STEP_S), counters(range(30, 400)), 0.0, 90 * HOUR_S, STEP_S)
    assert {one.status for one in still if one.labels["severity"] == "page"} == {"firing"}
