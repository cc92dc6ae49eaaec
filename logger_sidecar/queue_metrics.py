"""What waits in the proxy, for Prometheus: for the model server, and to be written."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from driftline import names
from logger_sidecar.proxy.upstream_pool import UpstreamPool
from logger_sidecar.recording.recorder_client import RecorderClient


class QueueMetrics:
    """What waits, in memory and for the model server; a Prometheus collector."""

    def __init__(self, pool: UpstreamPool, recorder: RecorderClient) -> None:
        self._pool = pool
        self._recorder = recorder

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        metric = names.SIDECAR_UPSTREAM_CONNECTIONS
        connections = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for state, count in self._pool.counts().items():
            connections.add_metric([state], count)
        yield connections
        for metric, value in (
            (names.CAPTURE_QUEUE_EVENTS, self._recorder.buffered_records),
            (names.CAPTURE_QUEUE_BYTES, self._recorder.buffered_bytes),
        ):
            yield GaugeMetricFamily(metric.name, metric.help, value=float(value))
        metric = names.SPOOL_WRITE_ERRORS
        errors = self._recorder.write_errors
        yield CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, value=float(errors))
