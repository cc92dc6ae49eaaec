"""What the collector tells Prometheus.

Counters that must not fall at a restart are read from the store when they are scraped; the rest lives in the process.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as PrometheusCollector

from collector.operating.activity import STEPS, Activity
from collector.operating.asking import Asking
from collector.operating.health import HealthReport
from collector.store.store import Store
from collector.store.transaction import TotalKey
from driftline import names
from driftline.clock import Clock
from driftline.errors import DriftlineError, SettingsError, TransientError, UnavailableError
from driftline.results import StreamSummary

PERSISTED = (
    names.COLLECTOR_EVENTS,
    names.COLLECTOR_ROWS,
    names.VALIDATION_FAILURES,
    names.HALVES,
    names.LABELS,
    names.JUDGED_PREDICTIONS,
    names.COLLECTOR_PAYLOAD_FAILURES,
    names.DEAD_LETTER_REPLAYS,
    names.COLLECTOR_REMOVED,
)


class CollectorMetrics:
    """The collector's own measurements, registered at ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = _counter(names.API_REQUESTS, registry)
        self._commit = _histogram(names.COLLECTOR_COMMIT, registry)
        self._waits = _counter(names.COLLECTOR_WAITS, registry)
        self._delay = _histogram(names.LABEL_DELAY, registry)
        self._reloads = _counter(names.CONFIG_RELOADS, registry)
        self._reloaded = _gauge(names.CONFIG_LAST_RELOAD_SUCCESSFUL, registry)
        self._reloaded.set(1)

    def committed(self, seconds: float) -> None:
        """One transaction took this long."""
        self._commit.observe(seconds)

    def label_delays(self, delays_s: Iterable[tuple[str, str, Sequence[float] | NDArray[np.float64]]]) -> None:
        """Labels (namespace, model, delays) were joined."""
        for namespace, model, delays in delays_s:
            _observe_all(self._delay.labels(namespace, model), delays)

    def tokens_read(self, fault: SettingsError | None) -> None:
        """The list of tokens changed, and was taken or refused whole."""
        self._reloads.labels(names.OUTCOME_APPLIED if fault is None else names.OUTCOME_REFUSED).inc()
        self._reloaded.set(0 if fault else 1)

    def transient(self, error: TransientError) -> None:
        """A batch or a poll had to wait."""
        part = error.part if isinstance(error, UnavailableError) else "store"
        self._waits.labels(part).inc()

    def api_request(self, route: str, code: int) -> None:
        """A request was answered."""
        self._requests.labels(route, str(code)).inc()


class ConsumerFigures(PrometheusCollector):
    """What the consumer's thread is at, read when it is asked for: a figure must not stand still with the thread."""

    def __init__(self, activity: Activity, health: Callable[[], HealthReport], clock: Clock) -> None:
        self._activity = activity
        self._health = health
        self._clock = clock

    def describe(self) -> Iterable[Family]:
        """Names without figures: there is no state to ask at registration."""
        return []

    def collect(self) -> Iterable[Family]:
        """Yield every family."""
        lag = _gauge_family(names.COLLECTOR_LAG)
        for partition, distance in self._activity.distances().items():
            lag.add_metric([partition], distance)
        yield lag
        held = _gauge_family(names.COLLECTOR_HELD)
        for partition in self._activity.held:
            held.add_metric([partition], 1.0)
        yield held
        lag_s = _gauge_family(names.COLLECTOR_LAG_SECONDS)
        for partition, age_s in self._activity.lag_s(self._clock()).items():
            lag_s.add_metric([partition], age_s)
        yield lag_s
        resting = _gauge_family(names.COLLECTOR_RESTING)
        for partition, rest_s in self._activity.rests_s().items():
            resting.add_metric([partition], rest_s)
        yield resting
        step = _gauge_family(names.COLLECTOR_STEP)
        present, seconds = self._activity.step()
        for each in STEPS:
            step.add_metric([each], seconds if each == present else 0.0)
        yield step
        stuck = _gauge_family(names.COLLECTOR_STUCK)
        stuck.add_metric([], 0.0 if self._health().healthy else 1.0)
        yield stuck


class StoreCounters(PrometheusCollector):
    """The persisted counters; while the store does not answer, as they last were.

    ``speaks``: whether this collector is the one of several that shows them.
    """

    def __init__(self, store: Store, clock: Clock, speaks: Callable[[], bool] = lambda: True) -> None:
        self._speaks = speaks
        self._store = store
        self._clock = clock
        self._asking = Asking()
        self._totals: Mapping[TotalKey, int] = {}
        self._streams: Sequence[StreamSummary] = ()

    def describe(self) -> Iterable[Family]:
        """Nothing is asked of the store at registration."""
        return []

    def collect(self) -> Iterable[Family]:
        """Read the store and yield every family; empty ones where another collector shows them."""
        if not self._speaks():
            yield from (CounterMetricFamily(metric.name, metric.help, labels=metric.labels) for metric in PERSISTED)
            return
        with suppress(DriftlineError):  # a scrape must not fail, or hang, with the database
            self._totals, self._streams = self._asking.ask(self._read)
        for metric in PERSISTED:
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for (name, labels), value in sorted(self._totals.items()):
                if name == metric.name:
                    family.add_metric(labels, value)
            yield family
        yield from self._newest_events()

    def _read(self) -> tuple[Mapping[TotalKey, int], Sequence[StreamSummary]]:
        return self._store.totals(), self._store.streams()

    def _newest_events(self) -> Iterable[Family]:
        newest: dict[tuple[str, str], float] = {}
        for summary in self._streams:
            key = (summary.stream.namespace, summary.stream.model)
            newest[key] = max(newest.get(key, 0.0), summary.last_event_s)
        last, age = _gauge_family(names.COLLECTOR_LAST_EVENT), _gauge_family(names.COLLECTOR_FRESHNESS)
        now_s = self._clock()
        for labels, time_s in sorted(newest.items()):
            last.add_metric(labels, time_s)
            age.add_metric(labels, max(0.0, now_s - time_s))
        yield last
        yield age


def _gauge_family(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def _histogram(metric: names.Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets_s, registry=registry)


def _observe_all(histogram: Histogram, values: Sequence[float] | NDArray[np.float64]) -> None:
    """Observe thousands of values at once, for which the client has no public way."""
    if len(values) < len(histogram._upper_bounds):  # noqa: SLF001
        for value in values:
            histogram.observe(value)
        return
    places = np.searchsorted(histogram._upper_bounds, values)  # noqa: SLF001
    for place, count in enumerate(np.bincount(places).tolist()):
        histogram._buckets[place].inc(count)  # noqa: SLF001
    histogram._sum.inc(float(np.sum(values)))  # noqa: SLF001


def _gauge(metric: names.Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def _counter(metric: names.Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)
