"""What the shipper counts, per sink: plain numbers of its thread, Prometheus metrics when somebody scrapes."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import counter_family, cumulated, gauge_family, histogram_family

_BUCKETS_S = names.SHIPPER_DELIVERY.buckets_s


class SinkMeters:
    """Counters of one sink. ``unread_bytes``: what lies in the spool behind the last record that was read."""

    def __init__(self, sink: str, unread_bytes: Callable[[], int]) -> None:
        self.sink = sink
        self.unread_bytes = unread_bytes
        self.delivered = 0
        self.failed: dict[str, int] = {}
        self.is_reachable = True
        #: Why it is away; empty while it is not.
        self.fault = ""
        #: Spool bytes read and not yet acknowledged.
        self.inflight_bytes = 0
        #: Arrival of the oldest event read and not yet acknowledged, in seconds since the epoch; None: there is none.
        self.oldest_s: float | None = None
        self.buckets = [0] * (len(_BUCKETS_S) + 1)
        self.seconds = 0.0

    def fail(self, reason: str, count: int = 1) -> None:
        """So many events are lost to the sink for good."""
        self.failed[reason] = self.failed.get(reason, 0) + count

    def delivery(self, seconds: float, count: int) -> None:
        """One batch was acknowledged."""
        self.delivered += count
        self.buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self.seconds += seconds


class ShipperMeters:
    """All sinks of one shipper; a Prometheus collector. ``now_s``: seconds since the epoch, on the events' clock.

    A sink that is no longer configured keeps its counters, because a counter must not fall; its gauges go.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._sinks: dict[str, SinkMeters] = {}
        self._current: frozenset[str] = frozenset()

    def of(self, sink: str, unread_bytes: Callable[[], int]) -> SinkMeters:
        """The counters of this sink, which is configured now."""
        meters = self._sinks.setdefault(sink, SinkMeters(sink, unread_bytes))
        meters.unread_bytes = unread_bytes
        self._current |= {sink}
        return meters

    def retire(self, sink: str) -> None:
        """The sink is no longer configured."""
        self._current -= {sink}

    @property
    def configured(self) -> frozenset[str]:
        """The names of the sinks that are configured now."""
        return self._current

    @property
    def away(self) -> list[str]:
        """The names of the sinks that do not take events now."""
        return [meters.sink for meters in self._configured() if not meters.is_reachable]

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        yield self._events()
        now_s, sinks = self._now_s(), self._configured()
        yield _gauge(
            names.SHIPPER_LAG_BYTES, [(one.sink, float(one.unread_bytes() + one.inflight_bytes)) for one in sinks]
        )
        yield _gauge(names.SHIPPER_INFLIGHT_BYTES, [(one.sink, float(one.inflight_bytes)) for one in sinks])
        ages = [(one.sink, oldest) for one in sinks if (oldest := one.oldest_s) is not None]
        aged = {sink: max(0.0, now_s - oldest) for sink, oldest in ages}
        yield _gauge(names.SHIPPER_LAG_AGE, [(one.sink, aged.get(one.sink, 0.0)) for one in sinks])
        yield _gauge(names.SHIPPER_SINK_UP, [(one.sink, float(one.is_reachable)) for one in sinks])
        yield self._latency()

    def _configured(self) -> list[SinkMeters]:
        return [meters for name, meters in list(self._sinks.items()) if name in self._current]

    def _events(self) -> Metric:
        family = counter_family(names.SHIPPER_EVENTS)
        for meters in list(self._sinks.values()):
            family.add_metric([meters.sink, names.OUTCOME_DELIVERED, ""], meters.delivered)
            for reason, count in list(meters.failed.items()):
                family.add_metric([meters.sink, names.OUTCOME_FAILED, reason], count)
        return family

    def _latency(self) -> Metric:
        family = histogram_family(names.SHIPPER_DELIVERY)
        for meters in list(self._sinks.values()):
            family.add_metric([meters.sink], cumulated(_BUCKETS_S, meters.buckets), meters.seconds)
        return family


def _gauge(metric: names.Metric, values: Sequence[tuple[str, float]]) -> Metric:
    family = gauge_family(metric)
    for sink, value in values:
        family.add_metric([sink], value)
    return family
