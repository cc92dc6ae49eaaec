"""What waits in the proxy, for Prometheus: for the model server, and to be written."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import counter_family, gauge_family
from logger_sidecar.proxy.upstream_pool import UpstreamPool
from logger_sidecar.recording.recorder_client import RecorderClient


class QueueMetrics:
    """What waits, in memory and for the model server; a Prometheus collector."""

    def __init__(self, pool: UpstreamPool, recorder: RecorderClient) -> None:
        self._pool = pool
        self._recorder = recorder

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        connections = gauge_family(names.SIDECAR_UPSTREAM_CONNECTIONS)
        for state, count in self._pool.counts().items():
            connections.add_metric([state], count)
        yield connections
        for metric, value in (
            (names.CAPTURE_QUEUE_EVENTS, self._recorder.buffered_records),
            (names.CAPTURE_QUEUE_BYTES, self._recorder.buffered_bytes),
        ):
            yield gauge_family(metric, float(value))
        yield counter_family(names.SPOOL_WRITE_ERRORS, float(self._recorder.write_errors))
