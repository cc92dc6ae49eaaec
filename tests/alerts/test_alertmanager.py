"""Alertmanager's configuration: golden, accepted by amtool, and routed as meant."""

import os
from pathlib import Path

import pytest
import yaml

from alerts.alertmanager import AlertmanagerOptions, build_config, inhibitions
from alerts.rules import to_yaml
from driftline import rule_names
from driftline.errors import SettingsError
from driftline.monitors import Monitor
from tests.alerts.examples import HERE, monitor, monitors, run

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
        ({"owner": "flights-team", "severity": "page"}, "owner-flights-team"),
        ({"owner": "flights-team", "severity": "ticket"}, "owner-flights-team"),
        ({"owner": 'valuation "A" team', "severity": "ticket"}, "owner-valuation-a-team"),
        ({"owner": "platform", "severity": "ticket"}, "owner-platform"),
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


def test_the_page_desk_hears_of_everything_but_the_heartbeat() -> None:
    receivers = {one["name"]: one.get("webhook_configs", []) for one in build_config(monitors(), OPTIONS)["receivers"]}
    for name, webhooks in receivers.items():
        urls = [webhook["url"] for webhook in webhooks]
        assert (OPTIONS.page_desk_url in urls) == (name != "heartbeat")


def test_owners_that_would_share_a_receiver_are_refused() -> None:
    other = Monitor.model_validate({**monitor("house-price").model_dump(), "owner": "Flights Team"})
    with pytest.raises(SettingsError, match="'Flights Team' and 'flights-team' would share"):
        build_config([monitor("flight-delay"), other])


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(SettingsError, match=r"group_wait_s is -1.*'ftp://x' is not an http"):
        AlertmanagerOptions(group_wait_s=-1, heartbeat_url="ftp://x")
