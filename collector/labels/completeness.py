"""How complete labels are, for Prometheus: read from the store when it is scraped."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from collector.store.keys import waiting_count
from collector.store.store import Store
from driftline import names
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.maturity import history_s, label_states
from driftline.monitors import Monitor
from driftline.results import LabelState, StreamKey


class LabelGauges(Collector):
    """Maturity of the newest closed window, windows that are not mature, labels that wait; absent without a store, and
    where another collector shows them (``speaks``).

    Read anew at most every ``refresh_s``, because many windows are looked at for a few numbers.
    """

    def __init__(
        self,
        store: Store,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        speaks: Callable[[], bool] = lambda: True,
        *,
        refresh_s: float = 30.0,
    ) -> None:
        self._speaks = speaks
        self._store = store
        self._monitors = monitors
        self._clock = clock
        self._refresh_s = refresh_s
        self._known: tuple[Family, ...] = ()
        self._due = 0.0

    def describe(self) -> Iterable[Family]:
        """Nothing is asked of the store at registration."""
        return []

    def collect(self) -> Iterable[Family]:
        """Every family, as the store has them now or had them lately."""
        if not self._speaks():
            return ()
        now = time.monotonic()
        if not self._known or now >= self._due:
            self._known = self._read()
            self._due = now + self._refresh_s
        return self._known

    def _read(self) -> tuple[Family, ...]:
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
        return maturity, immature, waiting


def _by_stream(states: Iterable[LabelState], now_s: float) -> dict[StreamKey, list[LabelState]]:
    """Closed windows by stream, the oldest first."""
    found: dict[StreamKey, list[LabelState]] = {}
    for state in states:
        if state.window.end_s <= now_s:
            found.setdefault(state.window.stream, []).append(state)
    return found
