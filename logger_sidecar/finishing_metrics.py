"""What the finishing process counts, for Prometheus."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from driftline import names
from logger_sidecar.finisher import FinishingProcess


class FinishingMetrics:
    """A collector of prometheus_client."""

    def __init__(self, process: FinishingProcess) -> None:
        self._process = process

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        metric = names.REDACTION_LEFT_OUT
        left_out = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        for reason, count in list(self._process.left_out.items()):
            left_out.add_metric([reason], count)
        yield left_out
        metric = names.FINISHING_STARTS
        starts = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        starts.add_metric([], self._process.starts)
        yield starts
