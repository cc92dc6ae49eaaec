"""Alertmanager's message: read, made, refused, and compared with what a real Alertmanager sends."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts.alertmanager import AlertmanagerOptions, build_config
from alerts.fingerprint import fingerprint
from alerts.rules import to_yaml
from alerts.webhook import make_webhook, parse_webhook, to_deployment_time
from driftline.clock import ScaledClock, system_clock
from driftline.errors import EventError
from driftline.results import Alert
from tests.alerts.examples import monitors
from tests.parts.alertmanager import Alertmanager
from tests.parts.http import WebhookReceiver, post_json

LABELS = {"alertname": "DriftlineCorrectnessBurn", "severity": "page", "slo": "correctness", "owner": 'flights "A"'}
FIRING = Alert("firing", LABELS, {"summary": "s"}, 1385272800.5, None, fingerprint(LABELS))
RESOLVED = Alert("resolved", LABELS, {"summary": "s"}, 1385272800.0, 1385276400.0, fingerprint(LABELS))


def _payload(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(make_webhook([FIRING, RESOLVED], "http://x"))), **changes}


def test_what_is_made_reads_back_equal() -> None:
    assert parse_webhook(_payload()) == [FIRING, RESOLVED]


def test_the_group_fires_while_one_of_it_fires() -> None:
    assert make_webhook([FIRING, RESOLVED], "")["status"] == "firing"
    assert make_webhook([RESOLVED], "")["status"] == "resolved"
    assert make_webhook([FIRING], "")["commonLabels"] == LABELS


def test_times_of_alertmanager_become_the_deployments_and_the_embedded_ones_stay() -> None:
    def wall() -> float:
        return 1385276400.0

    to_time = to_deployment_time(ScaledClock(wall_s=1385272800.0, story_s=0.0, speed=10.0, wall=wall), wall)
    assert parse_webhook(_payload(), to_time)[0].starts_at_s == FIRING.starts_at_s
    outside = parse_webhook(_payload(receiver="owner-x"), to_time)
    assert outside[0].starts_at_s == pytest.approx(5.0)
    assert outside[1].ends_at_s == pytest.approx(36000.0)
    assert to_deployment_time(system_clock)(7.0) == pytest.approx(7.0, abs=0.1)  # the clock is read twice


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ([], "holds list, not an object"),
        ({"version": "3", "alerts": []}, "version is '3', not '4'"),
        ({"version": "4", "alerts": {}}, "alerts is dict, not a list"),
        ({"version": "4", "alerts": ["x"]}, r"alerts\[0\] is str, not an object"),
        (
            {"version": "4", "alerts": [{"status": "odd", "startsAt": "yesterday"}]},
            "status is 'odd'.*'yesterday', not an",
        ),
        (
            {"version": "4", "alerts": [{"status": "firing", "startsAt": "2013-12-01T00:00:00", "labels": {"a": 1}}]},
            r"labels is not an object of texts.*startsAt is '2013-12-01T00:00:00'",
        ),
    ],
)
def test_messages_that_are_none_are_refused_with_every_fault(payload: Any, fault: str) -> None:
    with pytest.raises(EventError, match=fault):
        parse_webhook(payload)


@pytest.mark.real
def test_a_real_alertmanager_sends_what_we_read_and_counts_fingerprints_as_we_do(
    alertmanager_binary: Path, tmp_path: Path, webhook_receiver: WebhookReceiver
) -> None:
    options = AlertmanagerOptions(page_desk_url=webhook_receiver.url, clock_speed=1000.0)
    with Alertmanager(tmp_path, to_yaml(build_config(monitors(), options))) as manager:
        starts_at = datetime.fromtimestamp(1785272800.0, UTC).isoformat()
        ends_at = datetime.fromtimestamp(4102444800.0, UTC).isoformat()
        body = [{"labels": LABELS, "annotations": {"summary": "s"}, "startsAt": starts_at, "endsAt": ends_at}]
        post_json(f"{manager.url}/api/v2/alerts", body)
        received = webhook_receiver.wait_for(1)
    alert = parse_webhook(received[0])[0]
    assert alert == Alert("firing", LABELS, {"summary": "s"}, 1785272800.0, None, fingerprint(LABELS))
