"""Whether the collector's memory comes to rest: one collector over many days of events, with their labels.

Days of event time pass (a row every ``--spacing`` seconds), windows close, days begin, and one row in five gets its
label an hour later. Events lie in memory as Kafka's batches for no longer than they are read. Printed are resident
memory (anonymous and of files), and what the caches hold, at every twentieth of the rows.

``python -m benchmarks.collector_memory [--rows 1000000] [--spacing 0.9] [--database sqlite] [--pure] [--trace]``

``--trace`` says with ``tracemalloc`` which lines hold what was added between the middle and the end; it is slow.
"""

import argparse
import gc
import itertools
import random
import tempfile
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from benchmarks.collector_traffic import MODEL, START_NS, event, renumbered, write_monitor
from collector.batches.loop import Collector
from collector.operating.metrics import CollectorMetrics
from collector.settings import CollectorSettings
from collector.sources.joining import Joiner
from collector.sources.kafka import FetchedRecords, MessageReader
from collector.sources.record_scanning import RecordScanner, record_scanner
from collector.store.store import Store
from detectors.evaluating.engine import StatisticsEngine
from driftline.cli import wiring
from driftline.events import KafkaMessage, Label, encode_inference, encode_label
from driftline.records import Record
from driftline.testing import ManualClock, OneWay
from serving.decode_many import BatchDecoder
from tests.parts.postgres import PostgresServer

_PER_BATCH = 100
_BATCHES_PER_POLL = 51
_ZSTD = 4
_LABEL_AFTER_S = 3600.0
_EVENTS, _LABELS = TopicPartition("inference", 0), TopicPartition("labels", 0)


class PassingDays(OneWay):
    """A ``RecordSource`` of events and labels that are made when they are asked for; moves ``clock`` with them."""

    def __init__(self, rows: int, spacing_s: float, clock: ManualClock, *, pure: bool) -> None:
        self._clock = clock
        self._scanner = None if pure else record_scanner()
        self._reader = MessageReader("labels", self._scanner)
        pick = random.Random(1)
        messages = [encode_inference(event(number, pick)) for number in range(3000)]
        self._templates = itertools.cycle(messages)
        self._numbers = iter(range(0, rows, _PER_BATCH * _BATCHES_PER_POLL))
        self._rows, self._spacing_ns = rows, int(spacing_s * 1e9)
        self._current: deque[FetchedRecords] = deque()
        self._due: deque[int] = deque()
        self._labels = 0

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """The next records."""
        while self._current and not self._current[0]:  # read to its end
            self._current.popleft()
        if not self._current and not self._fetch():
            return ()
        fetched = self._current[0]
        return self._reader.records({fetched.topic_partition: fetched.take(max_records)})

    def _fetch(self) -> bool:
        first = next(self._numbers, None)
        if first is None:
            return False
        last = min(first + _PER_BATCH * _BATCHES_PER_POLL, self._rows)
        made = [renumbered(next(self._templates), number, self._spacing_ns) for number in range(first, last)]
        self._clock.now_s = self._time_s(last) + 1.0
        self._current.append(_fetched(_EVENTS, first, made, self._scanner))
        self._due.extend(range(first, last, 5))
        labels = []
        while self._due and self._time_s(self._due[0]) + _LABEL_AFTER_S <= self._clock.now_s:
            number = self._due.popleft()
            known_s = self._time_s(number) + _LABEL_AFTER_S
            label = Label(
                request_id=f"request-{number:012d}", value=str(number % 2), observed_at_s=known_s, model=MODEL
            )
            labels.append(encode_label(label, f"label-{number}"))
        if labels:
            self._current.append(_fetched(_LABELS, self._labels, labels, self._scanner))
            self._labels += len(labels)
        return True

    def _time_s(self, number: int) -> float:
        return (START_NS + number * self._spacing_ns) / 1e9


def _fetched(
    partition: TopicPartition, first: int, messages: Sequence[KafkaMessage], scanner: RecordScanner | None
) -> FetchedRecords:
    """The messages as a broker answers them."""
    batches = []
    for start in range(0, len(messages), _PER_BATCH):
        builder = DefaultRecordBatchBuilder(2, _ZSTD, False, -1, -1, -1, 10**7)
        for place, (headers, key, value) in enumerate(messages[start : start + _PER_BATCH]):
            builder.append(place, 1_700_000_000_000 + place, key, value, headers)
        raw = bytearray(builder.build())
        raw[:8] = (first + start).to_bytes(8, "big")
        batches.append(bytes(raw))
    return FetchedRecords(first, partition, MemoryRecords(b"".join(batches)), scanner=scanner)


def resident_mb() -> tuple[float, float]:
    """Memory of this process that is its own, and that of files (the database's, where it is mapped)."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found[name] = int(rest.split()[0]) / 1024
    return found["RssAnon"], found["RssFile"]


def held(collector: Collector, source: PassingDays, store: Store) -> dict[str, float]:
    """How much the parts hold that keep something between two batches."""
    cache: Any = collector._cache._states  # noqa: SLF001 - what is held is what is asked
    events: Any = source._reader._events  # noqa: SLF001
    engine: Any = store.engine
    return {
        "states": len(cache),
        "states_mb": sum(len(state.state) for state in cache.values() if state) / 1e6,
        "headers": len(events._headers),  # noqa: SLF001
        "values": len(events._values),  # noqa: SLF001
        "minutes": len(events._minutes),  # noqa: SLF001
        "statements": len(engine._compiled_cache),  # noqa: SLF001
        "objects": len(gc.get_objects()),
    }


def observe(arguments: argparse.Namespace, url: str, scratch: Path) -> None:
    """Collect everything, and print what is held on the way."""
    files = wiring.load_monitor_files(write_monitor(scratch / "monitors"))
    monitors, store, clock = wiring.monitors_of(files), Store(url), ManualClock()
    source = PassingDays(arguments.rows, arguments.spacing, clock, pure=arguments.pure)
    collector = Collector(
        source,
        store,
        BatchDecoder(None) if arguments.pure else BatchDecoder(),
        StatisticsEngine(wiring.load_references(files, scratch / "references")),
        monitors,
        clock,
        CollectorSettings(database_url=url, sweep_interval_s=5.0),
        None,
        CollectorMetrics(CollectorRegistry()),
        Joiner(store, monitors, 86400.0),
    )
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)  # as the command does
    done = shown = 0
    traced: tracemalloc.Snapshot | None = None
    began_s = time.process_time()
    while handled := collector.run_once():
        done += handled
        if done - shown >= arguments.rows // 20:
            shown = done
            anonymous, of_files = resident_mb()
            words = " ".join(f"{name}={value:.6g}" for name, value in held(collector, source, store).items())
            print(f"{done} records anon={anonymous:.1f} file={of_files:.1f} MB {words}", flush=True)
            if arguments.trace and traced is None and done > arguments.rows // 2:
                tracemalloc.start(12)
                traced = tracemalloc.take_snapshot()
    print(f"{done} records in {time.process_time() - began_s:.0f} CPU-s, the making of them included")
    if traced is not None:
        gc.collect()
        for line in tracemalloc.take_snapshot().compare_to(traced, "traceback")[:12]:
            print(line, *line.traceback.format(), sep="\n  ")
    store.close()


def main() -> None:
    """Collect and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spacing", type=float, default=0.9, help="seconds of event time between two rows")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="sqlite")
    parser.add_argument("--pure", action="store_true", help="without what the compiled build has")
    parser.add_argument("--trace", action="store_true", help="say which lines hold what was added")
    arguments = parser.parse_args()
    postgres = PostgresServer() if arguments.database == "postgresql" else None
    try:
        with tempfile.TemporaryDirectory(prefix="driftline-memory-") as scratch:
            url = postgres.new_database() if postgres else f"sqlite:///{scratch}/store.db"
            observe(arguments, url, Path(scratch))
    finally:
        if postgres:
            postgres.stop()


if __name__ == "__main__":
    main()
