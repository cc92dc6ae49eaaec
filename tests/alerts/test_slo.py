"""What each objective counts."""

import pytest

from alerts.selectors import Matcher, Operator, Selector
from alerts.slo import Objective, objectives
from driftline.errors import MonitorError
from driftline.monitors import parse_monitor
from tests.alerts.examples import monitor

MINIMAL = "model: m\ntask: binary\ncolumns: [{name: a, type: numeric}]\n"


def _by_kind(sampling_s: float = 15.0) -> dict[str, Objective]:
    return {objective.kind: objective for objective in objectives(monitor("flight-delay"), sampling_s)}


def _counts(selector: Selector, **labels: str) -> bool:
    own = {"namespace": "default", "model": "flight-delay", "variant": "stable", **labels}
    return selector.matches(selector.metric, own)


def test_availability_counts_server_errors_of_all_variants_but_shadows() -> None:
    bad = _by_kind()["availability"].counted
    assert _counts(bad, code="503")
    assert _counts(bad, code="500", variant="canary", version="7")
    assert not _counts(bad, code="404")
    assert not _counts(bad, code="503", variant="shadow")
    assert not bad.matches(bad.metric, {"namespace": "default", "model": "other", "code": "503"})


def test_latency_counts_what_was_fast_enough_out_of_all() -> None:
    found = _by_kind()["latency"]
    assert found.counts == "good"
    assert _counts(found.counted, le="0.25")
    assert not _counts(found.counted, le="0.2")
    assert found.counted.metric.removesuffix("_bucket") == found.total.metric.removesuffix("_count")


def test_a_whole_bound_matches_however_it_is_spelt() -> None:
    latency = next(o for o in objectives(monitor("house-price"), 15.0) if o.kind == "latency")
    own = {"namespace": "homes", "model": "house_price.v2"}
    found = [
        le
        for le in ("1", "1.0", "10", "10.0", "1.05")
        if latency.counted.matches(latency.counted.metric, {**own, "le": le})
    ]
    assert found == ["1", "1.0"]


def test_drift_leaves_windows_without_evidence_out_of_the_total() -> None:
    found = _by_kind()["drift"]
    verdicts = ["ok", "warning", "drifted", "not_enough_evidence"]
    assert [v for v in verdicts if _counts(found.total, verdict=v)] == ["ok", "warning", "drifted"]
    assert [v for v in verdicts if _counts(found.counted, verdict=v)] == ["drifted"]


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [("capture", "dropped", "sampled_out"), ("data_quality", "fail", "pass"), ("correctness", "incorrect", "correct")],
)
def test_outcomes_are_bad_or_good(kind: str, bad: str, good: str) -> None:
    found = _by_kind()[kind]
    assert _counts(found.counted, outcome=bad)
    assert not _counts(found.counted, outcome=good)
    assert _counts(found.total, outcome=good)


def test_slow_signals_have_coarse_resolutions() -> None:
    found = _by_kind(15.0)
    assert found["availability"].resolution_s == 60.0
    assert found["drift"].resolution_s == 6 * 3600.0 + found["availability"].resolution_s
    assert found["correctness"].resolution_s == 2 * 3600.0
    assert _by_kind(6 * 3600.0)["availability"].resolution_s == 24 * 3600.0


def test_a_latency_bound_that_is_no_bucket_is_refused_with_the_valid_ones() -> None:
    text = MINIMAL + "slos: {objectives: [{kind: latency, target: 0.9, threshold: 300ms}]}"
    with pytest.raises(MonitorError, match=r"latency\.threshold: 300ms is not a bound .* 200ms, 250ms, 500ms"):
        objectives(parse_monitor(text, "m.yaml"), 15.0)


def test_windows_longer_than_the_period_are_refused() -> None:
    text = MINIMAL + "windows: {size: 60d}\nslos: {objectives: [{kind: drift, target: 0.9}]}"
    with pytest.raises(MonitorError, match="drift: shows a change only every 60d1m, longer than the period 30d"):
        objectives(parse_monitor(text, "m.yaml"), 15.0)


def test_ids_name_the_model_and_the_kind_and_budgets_carry_no_binary_noise() -> None:
    found = _by_kind()["availability"]
    assert found.id == "default-flight-delay-availability"
    assert found.budget == 0.001


@pytest.mark.parametrize(
    ("operator", "value", "label", "accepted"),
    [
        ("=", "", "", True),
        ("!=", "a", "", True),
        ("=~", "5..", "5000", False),
        ("!~", "5..", "404", True),
        ("=~", "a|b", "b", True),
    ],
)
def test_matchers_read_as_prometheus_reads_them(operator: Operator, value: str, label: str, accepted: bool) -> None:
    matcher = Matcher("x", operator, value)
    assert matcher.accepts({"x": label} if label else {}) is accepted
