"""The alerts about the monitoring itself, as Prometheus decides them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.health_rules import health_groups
from alerts.options import RuleOptions
from alerts.rules import to_yaml
from driftline import names
from driftline.durations import format_duration
from driftline.rule_names import (
    ALERT_ACCURACY_FELL,
    ALERT_CAPTURE_DROPPING,
    ALERT_COLLECTOR_LAGGING,
    ALERT_COLLECTOR_STALE,
    ALERT_COLLECTOR_STALLED,
    ALERT_COLLECTOR_STUCK,
    ALERT_DEADMAN,
    ALERT_DETECTORS_STALE,
    ALERT_EVENTS_LOST,
    ALERT_LABELS_LATE,
    ALERT_METRICS_ABSENT,
    ALERT_RELOAD_REFUSED,
    ALERT_SINK_DOWN,
    ALERT_SPOOL_FILLING,
    ALERT_SPOOL_REFUSED,
)
from tests.alerts.examples import monitor, run
from tests.alerts.rule_tests import Series, counter

pytestmark = pytest.mark.real

MINUTE_S = 60.0
IDENTITY = {"namespace": "default", "model": "flight-delay"}
STREAM = {**IDENTITY, "version": "1", "variant": "stable"}


def _requests(minutes: int) -> Series:
    return Series(names.SIDECAR_REQUESTS.name, {**STREAM, "code": "200", "protocol": "v2"}, counter([10.0] * minutes))


def _captured(outcome: str, rises: Sequence[float]) -> Series:
    return Series(names.CAPTURE_EVENTS.name, {**STREAM, "outcome": outcome, "reason": ""}, counter(rises))


def _stored(rises: Sequence[float]) -> Series:
    return Series(names.COLLECTOR_EVENTS.name, {**STREAM, "outcome": "stored", "reason": ""}, counter(rises))


def _ran(times: Sequence[float]) -> Series:
    return Series(names.DETECTORS_LAST_RUN.name, IDENTITY, list(times))


def _spool(used: float, minutes: int) -> list[Series]:
    labels = {"instance": "a:1"}
    return [
        Series(names.SPOOL_BYTES.name, labels, [used] * minutes),
        Series(names.SPOOL_LIMIT_BYTES.name, labels, [100.0] * minutes),
    ]


def _refused(rises: Sequence[float]) -> list[Series]:
    return [Series(names.SPOOL_WRITE_ERRORS.name, {"instance": "a:1"}, counter(rises))]


def _sinks(values: Sequence[float]) -> list[Series]:
    """Two of them; the other one takes events all the time."""
    return [
        Series(names.SHIPPER_SINK_UP.name, {"instance": "a:2", "sink": "kafka"}, list(values)),
        Series(names.SHIPPER_SINK_UP.name, {"instance": "a:2", "sink": "archive"}, [1.0] * len(values)),
    ]


def _reloads(values: Sequence[float]) -> list[Series]:
    return [Series(names.CONFIG_LAST_RELOAD_SUCCESSFUL.name, {"instance": "a:1"}, list(values))]


def _lag(values: Sequence[float]) -> Series:
    return Series(names.COLLECTOR_LAG.name, {"partition": "kafka:t:0"}, list(values))


def _stuck(values: Sequence[float]) -> list[Series]:
    return [Series(names.COLLECTOR_STUCK.name, {"instance": "a:3"}, list(values))]


def _accuracy_alarms(of_all_rows: Sequence[float], of_a_segment: Sequence[float]) -> list[Series]:
    return [
        Series(names.ACCURACY_ALARM.name, {**STREAM, "segment": segment, "detector": "e_cusum"}, list(values))
        for segment, values in (("", of_all_rows), ("carrier=AA", of_a_segment))
    ]


def _fresh(ages_s: Sequence[float]) -> Series:
    return Series(names.COLLECTOR_FRESHNESS.name, IDENTITY, list(ages_s))


def _arrivals(stored: float, dead: float, replayed: float) -> list[Series]:
    """A step is ten minutes; every one logs a hundred."""
    steps = 60
    letters = {**STREAM, "outcome": "dead_letter", "reason": "not_json"}
    return [
        _captured("logged", [100.0] * steps),
        _stored([stored] * steps),
        Series(names.COLLECTOR_EVENTS.name, letters, counter([dead] * steps)),
        Series(names.DEAD_LETTER_REPLAYS.name, {**IDENTITY, "outcome": "stored"}, counter([replayed] * steps)),
    ]


def _labelled(label_rises: Sequence[float], hours: int) -> list[Series]:
    """A day has 288 steps of five minutes; here a step is ten, so that the test stays short."""
    rows = Series(names.COLLECTOR_ROWS.name, {**STREAM, "outcome": "pass"}, counter([10.0] * hours * 6))
    return [rows, Series(names.LABELS.name, {**IDENTITY, "outcome": "joined"}, counter(label_rises))]


CASES: dict[str, tuple[str, list[Series], float, float, bool]] = {
    # name: alert, series, their interval, time asked, whether it fires
    "no request metrics": (ALERT_METRICS_ABSENT, [_ran([0.0] * 30)], MINUTE_S, 25, True),
    "request metrics": (ALERT_METRICS_ABSENT, [_requests(30)], MINUTE_S, 25, False),
    "detectors never ran": (ALERT_DETECTORS_STALE, [_requests(100)], MINUTE_S, 90, True),
    "detectors stopped": (ALERT_DETECTORS_STALE, [_ran([7.0] * 200)], MINUTE_S, 150, True),
    "detectors run": (ALERT_DETECTORS_STALE, [_ran([m * 60.0 for m in range(200)])], MINUTE_S, 150, False),
    "nothing stored": (
        ALERT_COLLECTOR_STALLED,
        [_captured("logged", [10.0] * 40), _stored([10.0] * 5 + [0.0] * 35)],
        MINUTE_S,
        35,
        True,
    ),
    "never stored": (ALERT_COLLECTOR_STALLED, [_captured("logged", [10.0] * 40)], MINUTE_S, 35, True),
    "stored": (
        ALERT_COLLECTOR_STALLED,
        [_captured("logged", [10.0] * 40), _stored([10.0] * 40)],
        MINUTE_S,
        35,
        False,
    ),
    "no traffic to store": (
        ALERT_COLLECTOR_STALLED,
        [_captured("logged", [0.0] * 40), _stored([0.0] * 40)],
        MINUTE_S,
        35,
        False,
    ),
    "one in ten dropped": (
        ALERT_CAPTURE_DROPPING,
        [_captured("logged", [9.0] * 40), _captured("dropped", [1.0] * 40)],
        MINUTE_S,
        35,
        True,
    ),
    "one in a hundred dropped": (
        ALERT_CAPTURE_DROPPING,
        [_captured("logged", [99.0] * 40), _captured("dropped", [1.0] * 40)],
        MINUTE_S,
        35,
        False,
    ),
    "labels stopped": (ALERT_LABELS_LATE, _labelled([5.0] * 60 + [0.0] * 300, 60), 600, 50 * 60, True),
    "labels never came": (ALERT_LABELS_LATE, _labelled([5.0], 60)[:1], 600, 58 * 60, True),
    "labels come": (ALERT_LABELS_LATE, _labelled([5.0] * 360, 60), 600, 50 * 60, False),
    "labels are not due yet": (ALERT_LABELS_LATE, _labelled([0.0] * 360, 60), 600, 20 * 60, False),
    "spool nearly full": (ALERT_SPOOL_FILLING, _spool(85.0, 30), MINUTE_S, 20, True),
    "spool half full": (ALERT_SPOOL_FILLING, _spool(50.0, 30), MINUTE_S, 20, False),
    "one write refused": (
        ALERT_SPOOL_REFUSED,
        _refused([0.0] * 10 + [1.0] + [0.0] * 30),
        MINUTE_S,
        12,
        True,
    ),
    "refused again and again": (ALERT_SPOOL_REFUSED, _refused([1.0] * 60), MINUTE_S, 50, True),
    "refused long ago": (
        ALERT_SPOOL_REFUSED,
        _refused([0.0] * 10 + [1.0] + [0.0] * 30),
        MINUTE_S,
        30,
        False,
    ),
    "never refused": (ALERT_SPOOL_REFUSED, _refused([0.0] * 40), MINUTE_S, 30, False),
    "a sink is down": (ALERT_SINK_DOWN, _sinks([1.0] * 5 + [0.0] * 30), MINUTE_S, 20, True),
    "a sink was down from the start": (ALERT_SINK_DOWN, _sinks([0.0] * 30), MINUTE_S, 20, True),
    "a sink is down for a moment": (
        ALERT_SINK_DOWN,
        _sinks([1.0] * 5 + [0.0] * 3 + [1.0] * 20),
        60,
        9,
        False,
    ),
    "a sink is back": (ALERT_SINK_DOWN, _sinks([1.0] * 5 + [0.0] * 20 + [1.0] * 10), MINUTE_S, 26, False),
    "no sink is down": (ALERT_SINK_DOWN, _sinks([1.0] * 30), MINUTE_S, 20, False),
    "a configuration is refused": (
        ALERT_RELOAD_REFUSED,
        _reloads([1.0] * 5 + [0.0] * 30),
        MINUTE_S,
        20,
        True,
    ),
    "a better one follows": (ALERT_RELOAD_REFUSED, _reloads([0.0] * 20 + [1.0] * 10), MINUTE_S, 21, False),
    "one is mended at once": (ALERT_RELOAD_REFUSED, _reloads([0.0] * 3 + [1.0] * 20), MINUTE_S, 9, False),
    "lag grows": (ALERT_COLLECTOR_LAGGING, [_lag([10.0 * m for m in range(90)])], MINUTE_S, 80, True),
    "lag shrinks": (
        ALERT_COLLECTOR_LAGGING,
        [_lag([900.0 - 10 * m for m in range(90)])],
        MINUTE_S,
        80,
        False,
    ),
    "lag comes and goes": (
        ALERT_COLLECTOR_LAGGING,
        [_lag([m % 7.0 for m in range(90)])],
        MINUTE_S,
        80,
        False,
    ),
    "a consumer is stuck": (ALERT_COLLECTOR_STUCK, _stuck([0.0] * 5 + [1.0] * 10), MINUTE_S, 10, True),
    "a consumer is well": (ALERT_COLLECTOR_STUCK, _stuck([0.0] * 15), MINUTE_S, 10, False),
    "stored events are old": (
        ALERT_COLLECTOR_STALE,
        [_captured("logged", [10.0] * 90), _fresh([60.0 * m for m in range(90)])],
        MINUTE_S,
        85,
        True,
    ),
    "stored events are new": (
        ALERT_COLLECTOR_STALE,
        [_captured("logged", [10.0] * 90), _fresh([60.0] * 90)],
        MINUTE_S,
        85,
        False,
    ),
    "nothing newer is there": (
        ALERT_COLLECTOR_STALE,
        [_captured("logged", [0.0] * 200), _fresh([60.0 * m for m in range(200)])],
        MINUTE_S,
        190,
        False,
    ),
    "one in ten is lost": (ALERT_EVENTS_LOST, _arrivals(90.0, 0.0, 0.0), 600, 590, True),
    "one in ten is a dead letter": (ALERT_EVENTS_LOST, _arrivals(90.0, 10.0, 0.0), 600, 590, False),
    "what was replayed counts once": (ALERT_EVENTS_LOST, _arrivals(90.0, 10.0, 10.0), 600, 590, True),
    "accuracy fell": (ALERT_ACCURACY_FELL, _accuracy_alarms([0.0] * 5 + [1.0] * 9, [0.0] * 14), MINUTE_S, 10, True),
    "accuracy of a segment fell": (ALERT_ACCURACY_FELL, _accuracy_alarms([0.0] * 14, [1.0] * 14), MINUTE_S, 10, True),
    "accuracy is back": (ALERT_ACCURACY_FELL, _accuracy_alarms([1.0] * 5 + [0.0] * 9, [0.0] * 14), MINUTE_S, 10, False),
    "the deadman": (ALERT_DEADMAN, [_requests(10)], MINUTE_S, 5, True),
}


@pytest.mark.parametrize("case", CASES)
def test_health(case: str, promtool: Path, tmp_path: Path) -> None:
    alertname, series, interval_s, at_minute, fires = CASES[case]
    rules = {"groups": health_groups([monitor("flight-delay")], RuleOptions())}
    (tmp_path / "rules.yml").write_text(to_yaml(rules))
    expression = f'count(ALERTS{{alertname="{alertname}",alertstate="firing"}}) or vector(0)'
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": format_duration(interval_s / 2),
        "tests": [
            {
                "interval": format_duration(interval_s),
                "input_series": [one.input() for one in series],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": f"{at_minute}m30s",
                        "exp_samples": [{"labels": "{}", "value": 1 if fires else 0}],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(to_yaml(test))
    run(promtool, "test", "rules", tmp_path / "test.yml")
