"""What a row costs the collector, stage by stage, without a broker: for people who make it cheaper.

The events of ``collector_traffic`` lie in memory as Kafka's batches (zstd), as they come off the wire, a hundred events
each. The collector's own thread uncompresses, reads, decodes, counts and commits them; figures are its CPU time, the
median of the rounds. ``--pure`` leaves out what the compiled build has. ``--floor`` says what parsing the same bodies
alone costs here, into Python's objects, with ``msgspec`` (and ``orjson``, where it is installed).

``python -m benchmarks.collector_stages [--rows 40000] [--rounds 5] [--database sqlite] [--pure] [--floor]``

To compare two trees run it in both in turns: a busy machine changes its mood from minute to minute.
"""

import argparse
import gc
import importlib
import importlib.util
import itertools
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from benchmarks.collector import require_all
from benchmarks.collector_traffic import event, renumbered, write_monitor
from collector.batches.loop import Collector
from collector.operating.metrics import CollectorMetrics
from collector.settings import CollectorSettings
from collector.sources.joining import Joiner
from collector.sources.kafka import FetchedRecords, MessageReader
from collector.sources.kafka_records import RawRecords
from collector.sources.record_scanning import RecordScanner, record_scanner
from collector.store.store import Store
from detectors.evaluating.engine import StatisticsEngine
from driftline.cli import wiring
from driftline.events import encode_inference
from driftline.records import Record
from driftline.testing import OneWay
from serving.decode_many import BatchDecoder
from tests.parts.postgres import PostgresServer

_PER_BATCH, _BATCHES_PER_POLL = 100, 51
_WARM_UP = 8_000
_ZSTD = 4
_PARTITION = TopicPartition("inference", 0)


class Stages:
    """CPU seconds of the calling thread by stage."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, added up."""

        def measured(*arguments: Any) -> Any:
            began_s = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self.spent_s[stage] += time.thread_time() - began_s

        return measured


class FromMemory(OneWay):
    """A ``RecordSource`` of batches that are here already, read as the collector reads Kafka's."""

    def __init__(self, batches: list[bytes], stages: Stages, scanner: RecordScanner | None) -> None:
        self._scanner = scanner
        self._batches = batches
        self._at = 0
        self._current: FetchedRecords | None = None
        self._take = stages.timed("uncompress, records", self._taken)
        self._read = stages.timed("events", MessageReader("labels", scanner).records)

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """The next records."""
        taken = self._take(max_records)
        return self._read({_PARTITION: taken}) if taken else ()

    def _taken(self, count: int) -> list[RawRecords]:
        while True:
            if self._current and (found := self._current.take(count)):
                return found
            chunk = self._batches[self._at : self._at + _BATCHES_PER_POLL]
            if not chunk:
                return []
            self._current = FetchedRecords(
                self._at * _PER_BATCH, _PARTITION, MemoryRecords(b"".join(chunk)), scanner=self._scanner
            )
            self._at += _BATCHES_PER_POLL


class Timed:
    """An object with some of its methods timed."""

    def __init__(self, inner: Any, stages: Stages, named: Mapping[str, str]) -> None:
        self._inner = inner
        for method, stage in named.items():
            setattr(self, method, stages.timed(stage, getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def batches_of(rows: int) -> Iterator[bytes]:
    """The events as a broker keeps them."""
    pick = random.Random(1)
    templates = itertools.cycle([encode_inference(event(number, pick)) for number in range(3000)])
    for start in range(0, rows, _PER_BATCH):
        builder = DefaultRecordBatchBuilder(2, _ZSTD, False, -1, -1, -1, 10**7)
        for place in range(_PER_BATCH):
            headers, key, value = renumbered(next(templates), start + place)
            builder.append(place, 1_700_000_000_000 + place, key, value, headers)
        raw = bytearray(builder.build())
        raw[:8] = start.to_bytes(8, "big")
        yield bytes(raw)


class Bench:
    """What all rounds share."""

    def __init__(self, scratch: Path, rows: int, *, pure: bool) -> None:
        files = wiring.load_monitor_files(write_monitor(scratch / "monitors"))
        self._statistics = StatisticsEngine(wiring.load_references(files, scratch / "references"))
        self._monitors = wiring.monitors_of(files)
        self._decode = BatchDecoder(None) if pure else BatchDecoder()
        self._scanner = None if pure else record_scanner()
        self._batches = list(batches_of(rows))

    def round(self, url: str) -> dict[str, float]:
        """Microseconds per row by stage, of all rows after a warm-up."""
        stages, store = Stages(), Store(url)
        settings = CollectorSettings(database_url=url)
        collector = Collector(
            FromMemory(self._batches, stages, self._scanner),
            Timed(store, stages, {"known_events": "known events"}),
            stages.timed("bodies", self._decode),
            Timed(self._statistics, stages, {"outlier_scores": "outlier scores", "observe": "counts"}),
            self._monitors,
            wiring.clock(),
            settings,
            None,
            CollectorMetrics(CollectorRegistry()),
            Joiner(store, self._monitors, 86400.0),
        )
        writer: Any = collector._writer  # noqa: SLF001 - its two steps are two stages
        writer._prepare = stages.timed("prepare, with scores and counts", writer._prepare)  # noqa: SLF001
        writer.write = stages.timed("write, with prepare", writer.write)
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        done = first = 0
        began_s = time.thread_time()
        while handled := collector.run_once():
            done += handled
            if done <= _WARM_UP:
                first = done
                stages.spent_s.clear()
                began_s = time.thread_time()
        whole_s = time.thread_time() - began_s
        require_all(store, done)
        store.close()
        return {
            stage: spent_s / (done - first) * 1e6 for stage, spent_s in [*stages.spent_s.items(), ("together", whole_s)]
        }


def floor_us(rows: int) -> dict[str, float]:
    """Microseconds to parse the two bodies of a row into Python's objects, and nothing else."""
    pick = random.Random(1)
    events = [event(number, pick) for number in range(min(rows, 3000))]
    bodies = [body for each in events for body in (each.request.body, each.response.body)]
    found = {"msgspec": msgspec.json.Decoder().decode}
    if importlib.util.find_spec("orjson") is not None:
        found["orjson"] = importlib.import_module("orjson").loads
    return {name: min(_spent_us(parse, bodies, len(events)) for _ in range(9)) for name, parse in found.items()}


def _spent_us(parse: Callable[[bytes], Any], bodies: list[bytes], rows: int) -> float:
    began_s = time.thread_time()
    for body in bodies:
        parse(body)
    return (time.thread_time() - began_s) / rows * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--pure", action="store_true", help="without what the compiled build has")
    parser.add_argument("--floor", action="store_true", help="what parsing the bodies alone costs")
    arguments = parser.parse_args()
    if arguments.floor:
        print("parsing alone, us a row:", {name: round(us, 2) for name, us in floor_us(arguments.rows).items()})
    postgres = PostgresServer() if arguments.database == "postgresql" else None
    values: dict[str, list[float]] = defaultdict(list)
    try:
        with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
            bench = Bench(Path(scratch), arguments.rows, pure=arguments.pure)
            for number in range(arguments.rounds):
                url = postgres.new_database() if postgres else f"sqlite:///{scratch}/{number}.db"
                for stage, us in bench.round(url).items():
                    values[stage].append(us)
    finally:
        if postgres:
            postgres.stop()
    for stage, found in values.items():
        print(f"{stage:<34} {statistics.median(found):6.2f} us a row, least {min(found):6.2f}")


if __name__ == "__main__":
    main()
