"""The model server's metrics, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from driftline import names
from driftline.clock import Clock
from serving.repository import Model, Repository

#: Model and version of requests for models that are not there: names from outside never become label values.
UNKNOWN = ("unknown", "")


class ServingMetrics:
    """Counters and histograms of one server."""

    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._clock = clock
        self.registry = CollectorRegistry()
        self._requests = Counter(*_named(names.SERVING_REQUESTS), registry=self.registry)
        self._latency = Histogram(
            *_named(names.SERVING_LATENCY), buckets=names.SERVING_LATENCY.buckets_s, registry=self.registry
        )
        self._last_request = Gauge(*_named(names.SERVING_LAST_REQUEST), registry=self.registry)
        ready = Gauge(*_named(names.SERVING_MODEL_READY), registry=self.registry)
        for entry in repository.entries():
            ready.labels(entry.name, entry.version).set(isinstance(entry, Model))

    def observe(self, model: tuple[str, str], code: int, seconds: float) -> None:
        """Count one request. ``model``: its name and version, or UNKNOWN."""
        self._requests.labels(*model, str(code)).inc()
        self._latency.labels(*model).observe(seconds)
        self._last_request.labels(*model).set(self._clock())

    def exposition(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self.registry)


def _named(metric: names.Metric) -> tuple[str, str, tuple[str, ...]]:
    return metric.name, metric.help, metric.labels
