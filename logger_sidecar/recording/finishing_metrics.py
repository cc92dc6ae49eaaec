"""What the finishing process counts, for Prometheus."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from driftline import names
from logger_sidecar.recording.recorder_client import RecorderClient


class FinishingMetrics:
    """A collector of prometheus_client."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        metric = names.REDACTION_LEFT_OUT
        left_out = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        for reason, count in self._recorder.left_out.items():
            left_out.add_metric([reason], count)
        yield left_out
        metric = names.FINISHING_STARTS
        starts = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        starts.add_metric([], self._recorder.finishing_starts)
        yield starts
