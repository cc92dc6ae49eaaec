"""Collectors over the traffic: in this thread, in another one, or in a process that is killed.

Processes are forked from one that has imported everything (``multiprocessing``'s fork server): a collector that lives
for a second does not spend three on its imports.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from collector.batches.loop import Collector
from collector.operating.metrics import CollectorMetrics
from collector.settings import CollectorSettings
from collector.sources.kafka import KafkaSource
from collector.store.store import Store
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor
from driftline.testing import ListSource
from tests.collector.exactly_once.traffic import WATCHED, Topics
from tests.collector.helpers import HOUR_S, START_S, CountingStatistics, batched, decode

#: Small batches, so that there are many places to be killed at.
SETTINGS = CollectorSettings(minimum_batch_records=5, maximum_batch_records=60, commit_interval_s=0.1)
NOW_S = START_S + 200 * HOUR_S


class WatchedStatistics(CountingStatistics):
    """Counts what drift tests look at, as the real ones do: no business keys, and nobody's name."""

    def observe(
        self, monitor: Monitor, state: bytes | None, rows: ColumnBatch, outlier_scores: NDArray[np.float64]
    ) -> bytes:
        watched = dict(monitor.watched())
        numeric = {name: values for name, values in rows.numeric.items() if name in watched}
        text = {name: values for name, values in rows.text.items() if name in watched}
        return super().observe(monitor, state, ColumnBatch(rows.rows, numeric, text), outlier_scores)


def collector(topics: Topics, group: str, url: str) -> tuple[Collector, KafkaSource, Store]:
    """A collector as a fresh process makes it."""
    store = Store(url, prepare=False)
    source = KafkaSource(topics.settings(group), store.position)
    return _collector(source, store), source, store


def _collector(source: KafkaSource | ListSource, store: Store) -> Collector:
    metrics = CollectorMetrics(CollectorRegistry())
    monitors = {WATCHED.name: WATCHED}
    return Collector(
        source, store, batched(decode), WatchedStatistics(), monitors, lambda: NOW_S, SETTINGS, None, metrics
    )


def run(topics: Topics, group: str, url: str, stop: threading.Event) -> None:
    """Collect until ``stop``."""
    made, source, store = collector(topics, group, url)
    try:
        made.run(stop)
    finally:
        source.close()
        store.close()


@contextmanager
def collecting(topics: Topics, url: str, group: str) -> Iterator[Callable[[], None]]:
    """A collector in a thread; the given function ends it in order."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(topics, group, url, stop))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(120)

    try:
        yield end
    finally:
        end()
    assert not thread.is_alive()


@contextmanager
def killed(topics: Topics, url: str, group: str) -> Iterator[ForkServerProcess]:
    """A collector in a process of its own, which is killed where the block ends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    process = context.Process(target=_until_killed, args=(topics, group, url), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(60)
    assert not process.is_alive()


def _until_killed(topics: Topics, group: str, url: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run(topics, group, url, threading.Event())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def settle(url: str) -> None:
    """What every collector does now and then: join labels and predictions whose writers passed each other."""
    store = Store(url, prepare=False)
    _collector(ListSource(()), store).sweep()
    store.close()


def committed(store: Store) -> int:
    """Records that are committed."""
    return sum(offset for partition, offset in store.positions().items() if partition.startswith("kafka:"))
