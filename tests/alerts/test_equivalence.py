"""The embedded evaluation and Prometheus decide alike on the same random series, with resets, gaps and new replicas."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.burn_rules import burn_groups
from alerts.evaluator import Evaluator
from alerts.options import RuleOptions
from alerts.slo import Objective, objectives
from driftline import names, rule_names
from driftline.monitors import parse_monitor
from driftline.results import Alert
from driftline.testing import ManualClock
from tests.alerts.rule_tests import Expectation, Series, run_rule_test

pytestmark = pytest.mark.real

# An hour passes in a minute, so that a test sees every window from 5 s to 72 min.
OPTIONS = RuleOptions(scrape_interval_s=1.0, evaluation_interval_s=1.0, clock_speed=60.0)
SCRAPE_S = 1.0
SCRAPES = 700
QUIET_SCRAPES = 250
# No multiple up to the end is whole: evaluations fall between scrapes, and no window begins on a scrape, where
# Prometheus 2.42 and 3 differ.
EVALUATION_S = 7.31
MONITOR = parse_monitor(
    """
model: m
task: binary
columns: [{name: a, type: numeric}]
labels: {expected_delay: 1h}
slos:
  objectives:
    - {kind: availability, target: 0.99}
    - {kind: latency, target: 0.9, threshold: 1s}
    - {kind: correctness, target: 0.8}
""",
    "m.yaml",
)
IDENTITY = {"namespace": "default", "model": "m", "version": "1"}


def _random_counter(rng: random.Random, rates: Sequence[float]) -> list[float | None]:
    """A counter with bursts, resets to zero, lost scrapes, and often a late start or an early end."""
    begin = rng.choice([0, 0, rng.randrange(SCRAPES // 2)])
    end = rng.choice([SCRAPES, SCRAPES, rng.randrange(SCRAPES // 2, SCRAPES)])
    value, values = float(rng.choice([0, 0, rng.randrange(1000)])), []
    gap = 0
    for index in range(SCRAPES):
        value += sum(rng.random() < 0.5 for _ in range(10)) * rates[index]
        if rng.random() < 0.005:
            value = 0.0
        if rng.random() < 0.01:
            gap = rng.randrange(1, 20)
        gap -= 1
        values.append(value if begin <= index < end and gap < 0 else None)
    return values


def _rates(rng: random.Random, usual: float, burst: float) -> list[float]:
    """The usual rate at first, then stretches of it and of bursts in turn."""
    rates: list[float] = [usual] * QUIET_SCRAPES
    while len(rates) < SCRAPES:
        rates += [rng.choice([usual, usual, burst])] * rng.randrange(10, 200)
    return rates[:SCRAPES]


def _series(rng: random.Random) -> list[Series]:
    steady = [1.0] * SCRAPES
    metrics = {
        "availability": (names.SIDECAR_REQUESTS.name, "code", "200", "503", 0.001, 0.4),
        "correctness": (names.JUDGED_PREDICTIONS.name, "outcome", "correct", "incorrect", 0.05, 2.0),
    }
    found: list[Series] = []
    for variant in ("stable", "canary", "shadow"):
        stream = {**IDENTITY, "variant": variant, "instance": "a:1"}
        for metric, label, good, bad, usual, burst in metrics.values():
            found.append(Series(metric, {**stream, label: good}, _random_counter(rng, steady)))
            found.append(Series(metric, {**stream, label: bad}, _random_counter(rng, _rates(rng, usual, burst))))
        found += _histogram(rng, stream)
    return found


def _histogram(rng: random.Random, stream: dict[str, str]) -> list[Series]:
    fast = _random_counter(rng, [1.0] * SCRAPES)
    slow = _random_counter(rng, _rates(rng, 0.02, 1.5))
    count = [None if a is None else a + (b or 0.0) for a, b in zip(fast, slow, strict=True)]
    metric = names.SIDECAR_LATENCY.name
    return [Series(f"{metric}_bucket", {**stream, "le": "1.0"}, fast), Series(f"{metric}_count", stream, count)]


def _embedded(objective: Objective, series: Sequence[Series], times_s: Sequence[float]) -> list[list[Alert]]:
    clock = ManualClock()
    evaluator = Evaluator([objective], list, lambda _alerts: None, clock, OPTIONS)
    fired: list[list[Alert]] = []
    scrapes = iter(range(SCRAPES))
    upcoming = next(scrapes, None)
    for time_s in times_s:
        while upcoming is not None and upcoming * SCRAPE_S <= time_s:
            samples = [sample for one in series if (sample := one.at(upcoming)) is not None]
            evaluator.observe(samples, upcoming * SCRAPE_S * OPTIONS.clock_speed)
            upcoming = next(scrapes, None)
        clock.now_s = time_s * OPTIONS.clock_speed
        evaluator.step()
        fired.append(list(evaluator.firing()))
    return fired


@pytest.mark.parametrize("kind", ["availability", "latency", "correctness"])
@pytest.mark.parametrize("seed", range(4))
def test_prometheus_and_the_embedded_evaluation_decide_alike(
    kind: str, seed: int, promtool: Path, tmp_path: Path
) -> None:
    rng = random.Random(f"{kind} {seed}")
    objective = next(one for one in objectives(MONITOR, OPTIONS.sampling_s) if one.kind == kind)
    series = _series(rng)
    times_s = [index * EVALUATION_S for index in range(1, int(SCRAPES * SCRAPE_S / EVALUATION_S) + 1)]
    fired = _embedded(objective, series, times_s)
    # More than one answer must occur, or agreeing would mean little.
    assert len({tuple(alert.labels["window"] for alert in alerts) for alerts in fired}) >= 2
    expectations = [
        Expectation(time_s, rule_names.ALERT_OF_KIND[kind], alerts)
        for time_s, alerts in zip(times_s, fired, strict=True)
    ]
    rules = {"groups": burn_groups(objective, OPTIONS)}
    run_rule_test(
        promtool,
        tmp_path,
        rules,
        series,
        expectations,
        interval_s=SCRAPE_S,
        evaluation_interval_s=EVALUATION_S,
    )
