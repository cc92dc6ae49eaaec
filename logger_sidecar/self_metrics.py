"""What a process says about itself: build, resource attributes of OpenTelemetry, CPU, memory, open files, queues."""

from collections.abc import Iterable, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from driftline import __version__, names
from logger_sidecar.proxy.upstream_pool import UpstreamPool
from logger_sidecar.recording.recorder_client import RecorderClient


class SelfMetrics:
    """Build, resource and process; a Prometheus collector. ``implementation``: "python" or "compiled"."""

    def __init__(self, part: str, implementation: str, attributes: Mapping[str, str]) -> None:
        self._build = [part, __version__, implementation]
        self._attributes = {key.replace(".", "_").replace("-", "_"): value for key, value in attributes.items()}
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        metric = names.BUILD_INFO
        build = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        build.add_metric(self._build, 1.0)
        yield build
        yield InfoMetricFamily("target", "Resource attributes of OpenTelemetry.", value=self._attributes)
        yield from self._process.collect()


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
