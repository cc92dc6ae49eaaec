"""Alertmanager's configuration: golden, accepted by amtool, and routed as meant."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.alertmanager import AlertmanagerOptions, build_config, inhibitions
from alerts.burn import windows
from alerts.burn_rules import burn_alert
from alerts.options import RuleOptions
from alerts.rules import to_yaml
from alerts.slo import objectives
from driftline import rule_names
from driftline.errors import SettingsError
from driftline.monitors import Monitor
from tests.alerts.examples import HERE, monitor, monitors, run
from tests.parts.alertmanager import Alertmanager
from tests.parts.http import WebhookReceiver, post_json
from tests.parts.processes import wait_until

GOLDEN = HERE / "golden" / "alertmanager.yml"
OPTIONS = AlertmanagerOptions(
    page_desk_token_file="/tokens/page-desk",
    heartbeat_url="https://heartbeat.example/abc",
    owner_webhooks={"flights-team": "https://chat.example/flights"},
)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "alertmanager.yml"
    path.write_text(to_yaml(build_config(monitors(), OPTIONS)))
    return path


def test_the_configuration_is_the_golden_one() -> None:
    text = to_yaml(build_config(monitors(), OPTIONS))
    if os.environ.get("DRIFTLINE_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "if the change is meant, run with DRIFTLINE_WRITE_GOLDEN=1 and read the diff"
    assert yaml.safe_load(text) == build_config(monitors(), OPTIONS)


@pytest.mark.real
def test_amtool_accepts_the_configuration(amtool: Path, config_file: Path) -> None:
    assert "SUCCESS" in run(amtool, "check-config", config_file)


@pytest.mark.real
def test_amtool_accepts_it_without_any_option(amtool: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(to_yaml(build_config([])))
    assert "SUCCESS" in run(amtool, "check-config", tmp_path / "a.yml")


@pytest.mark.real
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"owner": "flights-team", "severity": "page"}, "page-desk,owner-flights-team"),
        ({"owner": "flights-team", "severity": "ticket"}, "page-desk,owner-flights-team"),
        ({"owner": 'valuation "A" team', "severity": "ticket"}, "page-desk,owner-valuation-a-team"),
        ({"owner": "platform", "severity": "ticket"}, "page-desk,owner-platform"),
        ({"owner": "somebody-new", "severity": "page"}, "page-desk"),
        ({"alertname": rule_names.ALERT_DEADMAN, "owner": "platform", "severity": "heartbeat"}, "heartbeat"),
    ],
)
def test_alertmanager_routes_by_owner(amtool: Path, config_file: Path, labels: dict[str, str], receiver: str) -> None:
    quoted = {name: value.replace('"', '\\"') for name, value in labels.items()}
    pairs = [f'{name}="{value}"' for name, value in quoted.items()]
    answer = run(amtool, "config", "routes", "test", f"--config.file={config_file}", *pairs)
    assert answer.splitlines()[0] == receiver


def test_every_inhibition_compares_namespace_and_model_and_spares_alerts_without_them() -> None:
    for rule in inhibitions():
        assert {"namespace", "model"} <= set(rule["equal"])
        assert 'model!=""' in rule["target_matchers"]


def test_waits_shrink_with_the_clock_but_not_below_a_second() -> None:
    fast = build_config(monitors(), AlertmanagerOptions(clock_speed=60.0))["route"]
    assert (fast["group_wait"], fast["group_interval"]) == ("1s", "5s")
    assert fast["repeat_interval"] == "24m"


def test_an_owner_hears_by_the_webhook_of_its_own_and_the_desk_once() -> None:
    receivers = {one["name"]: one.get("webhook_configs", []) for one in build_config(monitors(), OPTIONS)["receivers"]}
    urls = {name: [webhook["url"] for webhook in webhooks] for name, webhooks in receivers.items()}
    assert urls.pop("page-desk") == [OPTIONS.page_desk_url]
    assert urls.pop("heartbeat") == [OPTIONS.heartbeat_url]
    assert urls.pop("owner-flights-team") == ["https://chat.example/flights"]
    assert urls
    assert not any(urls.values())


@pytest.mark.real
def test_an_incident_is_one_ticket_and_one_page_for_its_team_and_one_group_for_the_desk(
    alertmanager_binary: Path, tmp_path: Path, webhook_receiver: WebhookReceiver
) -> None:
    """Drift and quality are tickets; then the budget of correctness burns: a page, and one more ticket."""
    before = [burning("drift", "ticket"), burning("data_quality", "ticket")]
    after = [burning("correctness", "page"), burning("correctness", "ticket")]
    with WebhookReceiver() as chat:
        options = AlertmanagerOptions(
            page_desk_url=webhook_receiver.url, owner_webhooks={"flights-team": chat.url}, clock_speed=30.0
        )
        with Alertmanager(tmp_path, to_yaml(build_config(monitors(), options))) as manager:
            post_json(f"{manager.url}/api/v2/alerts", before)
            ticket = chat.wait_for(1)[0]
            post_json(f"{manager.url}/api/v2/alerts", before + after)
            paged = chat.wait_for(2)[1]
            wait_until(lambda: len(silenced(manager)) == 3, 120.0, "three silenced tickets")
            wait_until(lambda: told_of(webhook_receiver.bodies, "page"), 120.0, "the page at the desk")
            assert silenced(manager) == {"drift", "data_quality", "correctness"}
    assert {alert["labels"]["slo"] for alert in ticket["alerts"]} == {"drift", "data_quality"}
    assert [alert["labels"]["severity"] for alert in paged["alerts"]] == ["page"]
    told = webhook_receiver.bodies
    assert {message["groupKey"] for message in told} == {told[0]["groupKey"]}
    assert told[0]["groupLabels"] == {"namespace": "default", "model": "flight-delay", "concern": "quality"}


def burning(kind: str, severity: str) -> dict[str, Any]:
    """An alert of the monitor flight-delay as Prometheus would send it."""
    objective = next(each for each in objectives(monitor("flight-delay"), 15.0) if each.kind == kind)
    window = next(each for each in windows(objective) if each.severity == severity)
    rule = burn_alert(objective, window, RuleOptions())
    return {"labels": {"alertname": rule["alert"], **rule["labels"]}, "annotations": rule["annotations"]}


def silenced(manager: Alertmanager) -> set[str]:
    """The objectives whose tickets a page silences."""
    return {
        alert["labels"]["slo"]
        for alert in manager.alerts()
        if alert["status"]["state"] == "suppressed" and alert["labels"]["severity"] == "ticket"
    }


def told_of(messages: Sequence[dict[str, Any]], severity: str) -> bool:
    """Whether any message tells of an alert of this severity."""
    return any(alert["labels"]["severity"] == severity for message in messages for alert in message["alerts"])


def test_owners_that_would_share_a_receiver_are_refused() -> None:
    other = Monitor.model_validate({**monitor("house-price").model_dump(), "owner": "Flights Team"})
    with pytest.raises(SettingsError, match="'Flights Team' and 'flights-team' would share"):
        build_config([monitor("flight-delay"), other])


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(SettingsError, match=r"group_wait_s is -1.*'ftp://x' is not an http"):
        AlertmanagerOptions(group_wait_s=-1, heartbeat_url="ftp://x")
