"""What the finishing process counts, for Prometheus."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import counter_family
from logger_sidecar.recording.recorder_client import RecorderClient


class FinishingMetrics:
    """A collector of prometheus_client."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        left_out = counter_family(names.REDACTION_LEFT_OUT)
        for reason, count in self._recorder.left_out.items():
            left_out.add_metric([reason], count)
        yield left_out
        starts = counter_family(names.FINISHING_STARTS)
        starts.add_metric([], self._recorder.finishing_starts)
        yield starts
