"""The sequential test of accuracy on the real store: what entered is kept, and read again by who remembers nothing."""

from typing import Any

from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from driftline.monitor_detectors import AccuracyTestSpec
from driftline.results import StreamKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records

STREAM = StreamKey("default", "flights", "3", "stable")


def test_a_window_enters_once_and_stays_as_it_entered(parts: Parts) -> None:
    detectors = MONITOR.detectors.model_copy(update={"accuracy": AccuracyTestSpec(test="e_cusum", floor=0.5)})
    monitor = MONITOR.model_copy(update={"detectors": detectors})
    statistics: Any = StatisticsEngine({})
    parts.monitors, parts.statistics = {monitor.name: monitor}, statistics
    drain(parts.collector(records([event(number) for number in range(0, 60, 10)])))
    desk = parts.desk()
    desk.submit([label(number, "1") for number in range(0, 60, 10)])
    parts.clock.advance(monitor.labels.maturity + 3 * HOUR_S)

    def entered() -> list[tuple[float, int]]:
        found = parts.store.detector_results(STREAM, "", "entered:", START_S, START_S + HOUR_S)
        return [(result.statistic, result.sample_size) for result in found]

    EvaluationJob(parts.store, {}, [monitor], parts.clock).run_once()
    first = entered()
    assert first in ([(0.0, 6)], [(1.0, 6)])
    desk.submit([label(number, "0", after_s=9000.0) for number in range(0, 60, 10)])
    assert EvaluationJob(parts.store, {}, [monitor], parts.clock).run_once() >= 1
    assert entered() == first
    newest = parts.store.results(STREAM, START_S, START_S + HOUR_S)
    accuracy = [result.statistic for result in newest if result.detector == "accuracy" and not result.window.segment]
    assert accuracy == [first[0][0]]  # every label was turned round
    assert EvaluationJob(parts.store, {}, [monitor], parts.clock).run_once() == 0
