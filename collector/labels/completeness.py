"""How complete labels are, for Prometheus: read from the store when it is scraped."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from collector.operating.asking import Asking
from collector.store.keys import waiting_count
from collector.store.store import Store
from driftline import names
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.maturity import delay_curves, history_s, label_states
from driftline.metric_families import gauge_family
from driftline.monitors import Monitor
from driftline.results import LabelState, StreamKey

_SHARES = (0.5, 0.95)
_REST = 50.0


class LabelGauges(Collector):
    """Of all rows and of each segment: maturity of the newest closed window, windows that are not mature, delays; and
    labels that wait. Absent without a store, and where another collector shows them (``speaks``).

    Read anew at most every ``refresh_s``, and for no more than a fiftieth of the time, because many windows are looked
    at for a few numbers.
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
        self._asking = Asking()
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
            with suppress(DriftlineError):  # what takes longer is there at a later scrape
                self._asking.ask(self._renew)
        return self._known

    def _renew(self) -> None:
        began_s = time.monotonic()
        self._known = self._read()
        took_s = time.monotonic() - began_s
        self._due = began_s + max(self._refresh_s, _REST * took_s)

    def _read(self) -> tuple[Family, ...]:
        maturity, immature, delay, waiting = (
            gauge_family(metric)
            for metric in (
                names.LABEL_MATURITY,
                names.IMMATURE_WINDOWS,
                names.LABEL_DELAY_EXPECTED,
                names.LABELS_WAITING,
            )
        )
        now_s = self._clock()
        for monitor in self._monitors.values():
            named = (monitor.namespace, monitor.model)
            try:
                windows = self._store.label_windows(*named, now_s - history_s(monitor), segments=True)
                count = self._store.read(partial(waiting_count, namespace=named[0], model=named[1]))
            except DriftlineError:
                continue  # a scrape must not fail with the database
            waiting.add_metric(named, count)
            for (stream, segment), states in _by_segment(label_states(monitor, windows, now_s), now_s).items():
                labels = (stream.namespace, stream.model, stream.version, stream.variant, segment)
                immature.add_metric(labels, sum(not state.mature for state in states))
                if states[-1].maturity is not None:
                    maturity.add_metric(labels, states[-1].maturity)
            for segment, curve in delay_curves(monitor, windows, now_s).items():
                for share in _SHARES:
                    delay.add_metric((*named, segment, f"{share:g}"), curve.delay_s(share))
        return maturity, immature, delay, waiting


def _by_segment(states: Iterable[LabelState], now_s: float) -> dict[tuple[StreamKey, str], list[LabelState]]:
    """Closed windows by stream and segment, the oldest first."""
    found: dict[tuple[StreamKey, str], list[LabelState]] = {}
    for state in states:
        window = state.window
        if window.end_s <= now_s and (window.rows or not window.segment):
            found.setdefault((window.stream, window.segment), []).append(state)
    return found
