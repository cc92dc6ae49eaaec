"""Every alert has a runbook, every runbook an alert, and none names what does not exist."""

import re

import pytest

from alerts.rules import build_rules
from alerts.runbooks import alertnames, runbook
from driftline import names
from tests.alerts.examples import monitors

BUILT = {rule["alert"] for group in build_rules(monitors())["groups"] for rule in group["rules"] if "alert" in rule}
KNOWN = {metric.name for metric in names.ALL_METRICS} | {
    f"{metric.name}_bucket" for metric in names.ALL_METRICS if metric.kind == "histogram"
}
COMMANDS = {"completeness", "deadletters replay", "doctor", "report", "labels send", "alerts check"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert set(alertnames()) == BUILT


@pytest.mark.parametrize("alertname", sorted(BUILT))
def test_a_runbook_says_what_it_means_what_to_do_and_what_not(alertname: str) -> None:
    text = runbook(alertname)
    assert text.startswith("# ")
    assert "## What it means" in text
    assert "## Do not" in text
    assert re.search(r"## (Do|When .*)\n1\. ", text)
    assert "`" in text


@pytest.mark.parametrize("alertname", sorted(BUILT))
def test_a_runbook_names_only_metrics_runbooks_and_commands_that_exist(alertname: str) -> None:
    text = runbook(alertname)
    assert set(re.findall(r"\bdriftline_[a-z_]+", text)) <= KNOWN
    assert set(re.findall(r"\bDriftline[A-Za-z]+", text)) <= BUILT
    assert set(re.findall(r"`driftline ([a-z ]+)`", text)) <= COMMANDS


def test_an_unknown_alert_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(KeyError, match="did you mean 'DriftlineDriftBurn'"):
        runbook("DriftlineDrifBurn")
