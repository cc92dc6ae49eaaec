"""The shipper: a process of its own that moves the spool to a sink, in order, and forgets nothing it was not told to.

The cursor moves only after every event before it was acknowledged, so a crash repeats events and never loses one; the
collector recognises repetitions by the event's id. While the sink is away the spool is the buffer.
"""

import logging
import os
import signal
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from driftline import names
from driftline.errors import DriftlineError, SettingsError, TransientError
from driftline.events import InferenceEvent, KafkaMessage, encode_inference
from driftline.records import Malformed, Record
from driftline.settings import load
from logger_sidecar.admin import AdminThread, Answer, metrics_answer
from logger_sidecar.kafka import KafkaSink
from logger_sidecar.settings import ShipperSettings
from logger_sidecar.spool import SpoolSource

_log = logging.getLogger("driftline.shipper")
_POLL_S = 0.25
_BUCKETS_S = names.SHIPPER_DELIVERY.buckets_s


class Sink(Protocol):
    """Where events go."""

    name: str

    def deliver(self, messages: Sequence[KafkaMessage]) -> dict[int, str]:
        """Deliver all; returns the reason for each that never can be, by index. Raises TransientError to try again."""

    def close(self) -> None:
        """Give the connection up."""


class Source(Protocol):
    """Where they come from."""

    partition: str

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """The next records."""

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """They are delivered up to here."""

    def lag(self) -> Mapping[str, int]:
        """Bytes not yet read."""


class ShipperMeters:
    """What the shipper counts; a Prometheus collector."""

    def __init__(self, sink: str, lag_bytes: Callable[[], int]) -> None:
        self._sink = sink
        self._lag_bytes = lag_bytes
        self.delivered = 0
        self.failed: dict[str, int] = {}
        self.sink_reachable = True
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0

    def fail(self, reason: str) -> None:
        """One event is lost to the sink for good."""
        self.failed[reason] = self.failed.get(reason, 0) + 1

    def delivery(self, seconds: float, count: int) -> None:
        """One batch was acknowledged."""
        self.delivered += count
        self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        metric = names.SHIPPER_EVENTS
        events = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        events.add_metric([self._sink, names.OUTCOME_DELIVERED, ""], self.delivered)
        for reason, count in list(self.failed.items()):
            events.add_metric([self._sink, names.OUTCOME_FAILED, reason], count)
        yield events
        metric = names.SHIPPER_LAG_BYTES
        lag = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        lag.add_metric([self._sink], self._lag_bytes())
        yield lag
        metric = names.SHIPPER_DELIVERY
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        total, cumulated = 0, []
        for bound, count in zip([*map(str, _BUCKETS_S), "+Inf"], self._buckets, strict=True):
            total += count
            cumulated.append((bound, float(total)))
        histogram.add_metric([self._sink], cumulated, self._seconds)
        yield histogram


class Shipper:
    """Moves records from a source to a sink until told to stop. ``sleep``: waits the given seconds."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        meters: ShipperMeters,
        *,
        batch_records: int,
        first_backoff_s: float,
        max_backoff_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._sink = sink
        self._meters = meters
        self._batch_records = batch_records
        self._first_backoff_s = first_backoff_s
        self._max_backoff_s = max_backoff_s
        self._sleep = sleep

    def run(self, keep_on: Callable[[], bool]) -> None:
        """Ship until ``keep_on`` says no."""
        while keep_on():
            self.ship_batch(_POLL_S, keep_on)

    def drain(self, keep_on: Callable[[], bool]) -> bool:
        """Ship what is there now; False when ``keep_on`` said no before all was delivered."""
        while keep_on():
            if not self.ship_batch(0.0, keep_on):
                return keep_on() and not any(self._source.lag().values())
        return False

    def ship_batch(self, timeout_s: float, keep_on: Callable[[], bool]) -> bool:
        """Deliver the next batch, however often that must be tried; False when there was none or the time was over."""
        records = self._source.poll(self._batch_records, timeout_s)
        if not records:
            return False
        messages = [message for record in records if (message := self._message(record)) is not None]
        if messages and not self._deliver(messages, keep_on):
            return False
        self._source.acknowledge(self._source.partition, records[-1].next_offset)
        return True

    def _message(self, record: Record) -> KafkaMessage | None:
        content = record.content
        if isinstance(content, InferenceEvent):
            return encode_inference(content)
        self._meters.fail(content.reason if isinstance(content, Malformed) else "not_an_inference")
        return None

    def _deliver(self, messages: Sequence[KafkaMessage], keep_on: Callable[[], bool]) -> bool:
        backoff_s = self._first_backoff_s
        while keep_on():
            began_s = time.monotonic()
            try:
                refused = self._sink.deliver(messages)
            except TransientError as error:
                if self._meters.sink_reachable:
                    _log.warning("%s; the spool keeps the events until it is back", error)
                self._meters.sink_reachable = False
                self._sleep(backoff_s)
                backoff_s = min(backoff_s * 2, self._max_backoff_s)
                continue
            if not self._meters.sink_reachable:
                _log.warning("%s takes events again", self._sink.name)
            self._meters.sink_reachable = True
            self._meters.delivery(time.monotonic() - began_s, len(messages) - len(refused))
            for reason in refused.values():
                self._meters.fail(reason)
            return True
        return False


class _Lifetime:
    """How long to go on: until SIGTERM, or until the parent is gone; then a bounded time more."""

    def __init__(self, settings: ShipperSettings) -> None:
        self._parent_pid = settings.parent_pid
        self._drain_timeout_s = settings.drain_timeout_s
        self._deadline_s: float | None = None
        signal.signal(signal.SIGTERM, self._end)
        # Ctrl-C reaches the whole group; the parent drains first and then sends SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._parent_pid else self._end)

    def goes_on(self) -> bool:
        """Whether to ship as usual."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            self._end()
        return self._deadline_s is None

    def may_drain(self) -> bool:
        """Whether there is time left, after the end began."""
        return self.goes_on() or time.monotonic() < (self._deadline_s or 0.0)

    def _end(self, *_signal: object) -> None:
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + self._drain_timeout_s


def run(settings: ShipperSettings) -> int:
    """Ship until SIGTERM; returns the exit code."""
    lifetime = _Lifetime(settings)
    sink = KafkaSink(settings)
    source = SpoolSource(settings.spool_directory, sink.name, lambda _partition: None)
    meters = ShipperMeters(sink.name, lambda: sum(source.lag().values()))
    shipper = Shipper(
        source,
        sink,
        meters,
        batch_records=settings.batch_records,
        first_backoff_s=settings.retry_backoff_s,
        max_backoff_s=settings.max_backoff_s,
    )

    async def metrics() -> Answer:
        return metrics_answer(meters)

    async def health() -> Answer:
        return Answer(200, b"ok\n" if meters.sink_reachable else b"ok, but the sink is away\n")

    admin = AdminThread(settings.admin_host, settings.admin_port, {"/metrics": metrics, "/healthz": health})
    try:
        # A batch that the broker has not taken when the end begins is tried on within the drain time.
        while lifetime.goes_on():
            shipper.ship_batch(_POLL_S, lifetime.may_drain)
        shipper.drain(lifetime.may_drain)
    finally:
        sink.close()
        source.close()
        admin.close()
    return 0


def main() -> int:
    """The process: settings from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        return run(load(ShipperSettings, "SHIPPER", environ=os.environ))
    except SettingsError as error:
        _log.error("%s", error)
        return 2
    except (DriftlineError, OSError) as error:
        _log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
