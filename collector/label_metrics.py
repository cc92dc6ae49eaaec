"""How complete labels are, for Prometheus: read from the store when it is scraped."""

from collections.abc import Iterable, Mapping
from functools import partial

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from collector.store import Store
from collector.store_keys import waiting_count
from driftline import names
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.maturity import history_s, label_states
from driftline.monitors import Monitor
from driftline.results import LabelState, StreamKey


class LabelGauges(Collector):
    """Maturity of the newest closed window, windows that are not mature, labels that wait; absent without a store."""

    def __init__(self, store: Store, monitors: Mapping[str, Monitor], clock: Clock) -> None:
        self._store = store
        self._monitors = monitors
        self._clock = clock

    def describe(self) -> Iterable[Family]:
        """Nothing is asked of the store at registration."""
        return []

    def collect(self) -> Iterable[Family]:
        """Read the store and yield every family."""
        maturity, immature, waiting = (
            GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for metric in (names.LABEL_MATURITY, names.IMMATURE_WINDOWS, names.LABELS_WAITING)
        )
        now_s = self._clock()
        for monitor in self._monitors.values():
            named = (monitor.namespace, monitor.model)
            try:
                windows = self._store.label_windows(*named, now_s - history_s(monitor))
                count = self._store.read(partial(waiting_count, namespace=named[0], model=named[1]))
            except DriftlineError:
                continue  # a scrape must not fail with the database
            waiting.add_metric(named, count)
            for stream, states in _by_stream(label_states(monitor, windows, now_s), now_s).items():
                labels = (stream.namespace, stream.model, stream.version, stream.variant)
                immature.add_metric(labels, sum(not state.mature for state in states))
                if states[-1].maturity is not None:
                    maturity.add_metric(labels, states[-1].maturity)
        yield from (maturity, immature, waiting)


def _by_stream(states: Iterable[LabelState], now_s: float) -> dict[StreamKey, list[LabelState]]:
    """Closed windows by stream, the oldest first."""
    found: dict[StreamKey, list[LabelState]] = {}
    for state in states:
        if state.window.end_s <= now_s:
            found.setdefault(state.window.stream, []).append(state)
    return found
