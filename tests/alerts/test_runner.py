"""The process: settings, turns over real HTTP, and its end."""

import os
import signal
import threading
import time
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from alerts.evaluator import Evaluator
from alerts.runner import run, turn
from alerts.settings import SETTINGS_PREFIX, EvaluatorSettings
from alerts.webhook import parse_webhook
from driftline import names
from driftline.clock import ScaledClock
from driftline.errors import PermanentError, SettingsError
from driftline.monitors import parse_monitor
from driftline.results import Alert
from driftline.settings import load
from tests.parts.http import WebhookReceiver
from tests.parts.processes import wait_until

MONITOR = parse_monitor(
    """
model: m
task: binary
columns: [{name: a, type: numeric}]
slos: {objectives: [{kind: availability, target: 0.9}]}
""",
    "m.yaml",
)


def test_settings_come_from_the_environment() -> None:
    environ = {"DRIFTLINE_ALERTS_TARGETS": "http://a/metrics, http://b/metrics", "DRIFTLINE_ALERTS_INTERVAL_S": "2"}
    settings = load(EvaluatorSettings, SETTINGS_PREFIX, environ=environ)
    assert settings.targets == ("http://a/metrics", "http://b/metrics")
    assert settings.rule_options(60.0).sampling_s == 120.0


def test_wrong_settings_are_all_named() -> None:
    environ = {"DRIFTLINE_ALERTS_INTERVAL_S": "0", "DRIFTLINE_ALERTS_PAGE_DESK_URL": "desk"}
    with pytest.raises(SettingsError, match=r"interval_s is 0.*targets is empty.*'desk' is not an http"):
        load(EvaluatorSettings, SETTINGS_PREFIX, environ=environ)


def test_a_failing_model_is_told_of_over_http(webhook_receiver: WebhookReceiver) -> None:
    registry = CollectorRegistry()
    counter = Counter(
        names.SIDECAR_REQUESTS.name.removesuffix("_total"),
        "Requests.",
        names.SIDECAR_REQUESTS.labels,
        registry=registry,
    ).labels("default", "m", "1", "stable", "v2", "503")
    server, _ = start_http_server(0, "127.0.0.1", registry)
    settings = EvaluatorSettings(
        targets=(f"http://127.0.0.1:{server.server_address[1]}/metrics",),
        page_desk_url=webhook_receiver.url,
        interval_s=0.02,
    )
    stop = threading.Event()
    # An hour passes in 0.6 s.
    now_s = time.time()
    clock = ScaledClock(wall_s=now_s, story_s=now_s, speed=6000.0)
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(run(settings, [MONITOR], clock, stop)))
    thread.start()

    def told() -> bool:
        counter.inc(10)
        return bool(webhook_receiver.bodies)

    try:
        wait_until(told, 120, "a page")
    finally:
        stop.set()
        thread.join(60)
        server.shutdown()
        server.server_close()
    assert ended == [0]
    alert = parse_webhook(webhook_receiver.bodies[0])[0]
    assert alert.labels["alertname"] == "DriftlineAvailabilityBurn"
    assert alert.annotations["bad_percent"] == "100"


def test_the_process_ends_on_sigterm(webhook_receiver: WebhookReceiver) -> None:
    settings = EvaluatorSettings(targets=("http://127.0.0.1:1/metrics",), page_desk_url=webhook_receiver.url)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def end() -> None:
        # A signal that comes before it is heeded ends the tests.
        wait_until(lambda: signal.getsignal(signal.SIGINT) != before[1], 120, "signals to be heeded", pause_s=0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    try:
        assert run(settings, [MONITOR], time.time) == 0
    finally:
        ending.join()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_turn_that_fails_does_not_end_the_process() -> None:
    stop = threading.Event()
    turns: list[int] = []

    def scrape() -> Sequence[object]:
        turns.append(1)
        if len(turns) == 3:
            stop.set()
        raise PermanentError("no")

    evaluator = Evaluator([], scrape, _ignore, lambda: 0.0)  # type: ignore[arg-type]
    turn(evaluator, 0.001, stop)
    assert len(turns) == 3


def _ignore(_alerts: Sequence[Alert]) -> None:
    """Take alerts and do nothing."""
