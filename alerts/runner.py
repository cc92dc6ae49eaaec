"""The process ``driftline alerts evaluate``: a turn of the evaluator every interval until it is told to stop."""

import logging
import signal
import threading
import time
from collections.abc import Mapping, Sequence

from alerts.evaluator import Evaluator
from alerts.http import NO_HEADERS, MetricsScraper, WebhookDelivery
from alerts.rules import all_objectives
from alerts.settings import EvaluatorSettings
from driftline.clock import Clock, clock_speed
from driftline.errors import DriftlineError
from driftline.monitors import Monitor

_log = logging.getLogger(__name__)


def run(
    settings: EvaluatorSettings,
    monitors: Sequence[Monitor],
    clock: Clock,
    stop: threading.Event | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> int:
    """Evaluate until SIGTERM, SIGINT or ``stop``; returns the exit status. ``headers``: sent along, to say who asks.

    Raises MonitorError for objectives that cannot be measured before the first turn.
    """
    options = settings.rule_options(clock_speed(clock))
    objectives = all_objectives(monitors, options)
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    _log.info("evaluating %d objectives from %s", len(objectives), ", ".join(settings.targets))
    with (
        MetricsScraper(settings.targets, settings.timeout_s, headers=headers) as scrape,
        WebhookDelivery(
            settings.page_desk_url, settings.external_url, timeout_s=settings.timeout_s, headers=headers
        ) as deliver,
    ):
        evaluator = Evaluator(objectives, scrape, deliver, clock, options, settings.repeat_s)
        turn(evaluator, settings.interval_s, stop)
    return 0


def turn(evaluator: Evaluator, interval_s: float, stop: threading.Event) -> None:
    """Step now and then every ``interval_s`` real seconds; a slow step delays the next instead of piling up."""
    while not stop.is_set():
        began_s = time.monotonic()
        try:
            evaluator.step()
        except DriftlineError:
            _log.exception("this turn failed; the next follows")
        stop.wait(max(0.0, interval_s - (time.monotonic() - began_s)))
