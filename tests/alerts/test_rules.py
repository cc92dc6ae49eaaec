"""The rule file: golden, whole, and refused when it cannot be right."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.burn_rules import decimal
from alerts.options import RuleOptions
from alerts.rules import build_rules, rules_yaml
from driftline import names, rule_names
from driftline.errors import MonitorError, SettingsError
from driftline.monitors import Monitor
from tests.alerts.examples import HERE, monitor, monitors, run

GOLDEN = HERE / "golden" / "rules.yml"


def _rules(built: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in built["groups"] for rule in group["rules"]]


def _alerts(built: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for rule in _rules(built) if "alert" in rule]


def test_the_rules_are_the_golden_ones() -> None:
    text = rules_yaml(monitors())
    if os.environ.get("DRIFTLINE_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "if the change is meant, run with DRIFTLINE_WRITE_GOLDEN=1 and read the diff"


def test_the_text_reads_back_as_the_rules() -> None:
    assert yaml.safe_load(rules_yaml(monitors())) == build_rules(monitors())


@pytest.mark.real
@pytest.mark.parametrize("speed", [1.0, 3600.0])
def test_promtool_accepts_the_rules_with_all_its_lints(promtool: Path, tmp_path: Path, speed: float) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(rules_yaml(monitors(), RuleOptions(clock_speed=speed, scrape_interval_s=1.0)))
    expected = len(_rules(build_rules(monitors(), RuleOptions(clock_speed=speed, scrape_interval_s=1.0))))
    assert f"SUCCESS: {expected} rules found" in run(promtool, "check", "rules", "--lint=all", path)


def test_every_alert_says_whom_it_concerns_and_where_to_go_on() -> None:
    for rule in _alerts(build_rules(monitors(), RuleOptions(external_url="https://drift.example"))):
        assert {"severity", "slo", "owner"} <= set(rule["labels"]), rule["alert"]
        assert {"summary", "description", "runbook_url", "dashboard_url"} <= set(rule["annotations"]), rule["alert"]
        assert rule["annotations"]["dashboard_url"].startswith("https://drift.example")


def test_runbook_links_lead_to_the_teams_own_then_to_the_directory_then_to_the_page() -> None:
    def links(options: RuleOptions) -> set[str]:
        rules = _alerts(build_rules(monitors(), options))
        return {rule["annotations"]["runbook_url"] for rule in rules if rule["labels"]["slo"] == "correctness"}

    own = "https://wiki.example/house-price"
    assert links(RuleOptions(external_url="http://x")) == {own, "http://x/pages"}
    runbooks = {f"http://r/{name}" for name in ("DriftlineCorrectnessBurn", "DriftlineAccuracyFell")}
    assert links(RuleOptions(runbook_url="http://r")) == {own, *runbooks}


def test_every_alert_about_a_model_names_it_so_that_inhibition_never_compares_absent_labels() -> None:
    shared = {
        rule_names.ALERT_COLLECTOR_LAGGING,
        rule_names.ALERT_COLLECTOR_STUCK,
        rule_names.ALERT_SPOOL_FILLING,
        rule_names.ALERT_SPOOL_REFUSED,
        rule_names.ALERT_SINK_DOWN,
        rule_names.ALERT_RELOAD_REFUSED,
        rule_names.ALERT_DEADMAN,
    }
    for rule in _alerts(build_rules(monitors())):
        assert ({"namespace", "model"} <= set(rule["labels"])) == (rule["alert"] not in shared)


def test_every_kind_of_objective_has_an_alert_and_every_silence_too() -> None:
    found = {rule["alert"] for rule in _alerts(build_rules(monitors()))}
    named = {value for name, value in vars(rule_names).items() if name.startswith("ALERT_") and isinstance(value, str)}
    assert found == set(rule_names.ALERT_OF_KIND.values()) | named


def test_only_metrics_that_driftline_exports_are_read() -> None:
    known = {metric.name for metric in names.ALL_METRICS}
    known |= {f"{metric.name}{part}" for metric in names.ALL_METRICS for part in ("_bucket", "_count")}
    for rule in _rules(build_rules(monitors())):
        words = "".join(letter if letter.isalnum() or letter in "_:" else " " for letter in rule["expr"]).split()
        raw = {word for word in words if word.startswith("driftline_")}
        assert raw <= known, rule["expr"]


def test_every_recorded_series_that_is_read_is_recorded() -> None:
    rules = _rules(build_rules(monitors()))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        words = "".join(letter if letter.isalnum() or letter in "_:" else " " for letter in rule["expr"]).split()
        assert {word for word in words if word.startswith("driftline:")} <= recorded


def test_a_fast_clock_shortens_ranges_but_not_names_and_sentences() -> None:
    fast = RuleOptions(clock_speed=3600.0, scrape_interval_s=0.01, evaluation_interval_s=1.0)
    usual, quick = build_rules([monitor("flight-delay")]), build_rules([monitor("flight-delay")], fast)

    def correctness(built: dict[str, Any]) -> list[dict[str, Any]]:
        return [rule for rule in _rules(built) if rule.get("labels", {}).get("slo") == "correctness"]

    assert [rule.get("record", rule.get("alert")) for rule in correctness(usual)] == [
        rule.get("record", rule.get("alert")) for rule in correctness(quick)
    ]
    assert "[1d]" in correctness(usual)[6]["expr"]
    assert "[24s]" in correctness(quick)[6]["expr"]
    page = next(rule for rule in correctness(quick) if rule.get("alert") == "DriftlineCorrectnessBurn")
    assert page["labels"]["window"] == "1d"
    assert "over the last 1d" in page["annotations"]["summary"]


def test_a_clock_too_fast_for_prometheus_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"clock_speed 1e\+09 makes .* nothing shorter than 1ms"):
        RuleOptions(clock_speed=1e9).real(300.0)


def test_a_faster_clock_does_not_ask_processes_to_be_faster() -> None:
    """A broker that takes two seconds to hand a collector its partitions is no reason to wake anybody."""
    fast = RuleOptions(clock_speed=10_800.0, scrape_interval_s=0.25, evaluation_interval_s=0.25)
    spans = {
        rule["alert"]: rule["expr"]
        for rule in _rules(build_rules(monitors(), fast))
        if rule.get("alert") in {rule_names.ALERT_COLLECTOR_STALLED, rule_names.ALERT_DETECTORS_STALE}
    }
    assert len(spans) == 2
    for expression in spans.values():
        assert "[10s]" in expression
        assert "[1s]" not in expression


@pytest.mark.parametrize("name", ["clock_speed", "scrape_interval_s", "evaluation_interval_s"])
def test_options_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 0"):
        RuleOptions(**{name: 0})


def test_a_model_named_twice_is_refused() -> None:
    with pytest.raises(MonitorError, match="more than one monitor is called default-flight-delay"):
        build_rules([monitor("flight-delay"), monitor("flight-delay")])


def test_braces_of_an_owner_do_not_become_a_template() -> None:
    odd = Monitor.model_validate({**monitor("flight-delay").model_dump(), "owner": "a {{ b"})
    owners = {rule["labels"]["owner"] for rule in _alerts(build_rules([odd]))}
    assert owners == {'a {{"{{"}} b', "platform"}


@pytest.mark.parametrize(
    ("value", "text"), [(1 - 0.999, "0.001"), (2.5e-7, "0.00000025"), (14.4 * 0.001, "0.0144"), (2592000.0, "2592000")]
)
def test_numbers_are_exact_decimals(value: float, text: str) -> None:
    assert decimal(value) == text
