"""What a process says about itself: build, resource attributes of OpenTelemetry, CPU, memory, open files."""

from collections.abc import Iterable, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric

from driftline import __version__, names
from driftline.metric_families import gauge_family


class SelfMetrics:
    """Build, resource and process; a Prometheus collector. ``implementation``: "python" or "compiled"."""

    def __init__(self, part: str, implementation: str, attributes: Mapping[str, str]) -> None:
        self._build = [part, __version__, implementation]
        self._attributes = {key.replace(".", "_").replace("-", "_"): value for key, value in attributes.items()}
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        build = gauge_family(names.BUILD_INFO)
        build.add_metric(self._build, 1.0)
        yield build
        yield InfoMetricFamily("target", "Resource attributes of OpenTelemetry.", value=self._attributes)
        yield from self._process.collect()
