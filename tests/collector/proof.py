"""Traffic for the proofs that everything is counted once, a collector to be killed, and what of a store must be equal.

As a program it is a collector over Kafka that works until it is killed:
``python -m tests.collector.proof BOOTSTRAP GROUP INFERENCE LABELS DATABASE``.
"""

import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient, NewTopic
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from collector.batches.loop import Collector
from collector.operating.metrics import CollectorMetrics
from collector.settings import CollectorSettings, KafkaSettings
from collector.sources.kafka import KafkaSource
from collector.store import schema
from collector.store.database import connect
from collector.store.store import Store
from driftline import names
from driftline.events import InferenceEvent, KafkaMessage, Label, encode_inference, encode_label
from driftline.testing import ListSource
from tests.collector.helpers import HOUR_S, MONITOR, START_S, CountingStatistics, batched, decode, event, label

PARTITIONS = 8
#: All three carriers are watched, so that it does not matter whose rows come first.
WATCHED = MONITOR.model_copy(update={"maximum_segments": 3})
#: Small batches, so that there are many places to be killed at.
SETTINGS = CollectorSettings(minimum_batch_records=5, maximum_batch_records=60, commit_interval_s=0.1)
NOW_S = START_S + 200 * HOUR_S


@dataclass(frozen=True)
class Topics:
    """Where one proof's traffic is, and how much of it."""

    bootstrap: str
    inference: str
    labels: str
    records: int = 0

    def settings(self, group: str) -> KafkaSettings:
        """What a collector of that group reads."""
        return KafkaSettings((self.bootstrap,), group, self.inference, self.labels)


def fill(bootstrap: str, name: str, events: int, seed: int) -> Topics:
    """Topics with events, many of them twice, errors, broken messages, and labels before and after their events."""
    topics = Topics(bootstrap, f"inference-{name}", f"labels-{name}")
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topics.inference, PARTITIONS, 1), NewTopic(topics.labels, 2, 1)])
    admin.close()
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    sent = 0
    for topic, message in _traffic(topics, events, random.Random(seed)):
        producer.produce(topic, value=message.value, key=message.key, headers=message.headers)
        sent += 1
    producer.flush(30)
    return Topics(topics.bootstrap, topics.inference, topics.labels, sent)


def _traffic(topics: Topics, events: int, pick: random.Random) -> Iterator[tuple[str, KafkaMessage]]:
    for number in range(events):
        dice = pick.random()
        made = event(
            number % 600, event_id=f"event-{number}", request_id=f"request-{number}", status=503 if dice < 0.03 else 200
        )
        if dice > 0.6:
            yield from ((topics.labels, each) for each in _labels(number, made, pick))
        yield topics.inference, encode_inference(made)
        if 0.3 < dice < 0.4:
            yield topics.inference, encode_inference(made)  # the shipper was not sure and sent it again
        if dice > 0.98:
            yield topics.inference, KafkaMessage([("ce_type", b"x")], b"k%d" % number, b"broken")
        if dice < 0.2:
            yield from ((topics.labels, each) for each in _labels(number, made, pick))


#: Values of one row's labels with their ages: one, a repeated one, an older one that comes later, a withdrawal alone.
#: A correction would be counted by what it corrected, and that depends on which topic was read first.
_LABELS: Sequence[Sequence[tuple[int | None, float]]] = (
    ((1, 0.0),),
    ((0, 0.0),),
    ((1, 0.0), (1, 5.0)),
    ((1, 0.0), (0, -5.0)),
    ((None, 0.0),),
)


def _labels(number: int, made: InferenceEvent, pick: random.Random) -> Iterator[KafkaMessage]:
    for place, (value, later_s) in enumerate(pick.choice(_LABELS)):
        found: Label = label(number, value)
        found = msgspec.structs.replace(found, observed_at_s=made.time_s + 3600.0 + later_s)
        yield encode_label(found, f"label-{number}-{place}")


def collector(topics: Topics, group: str, url: str) -> tuple[Collector, KafkaSource, Store]:
    """A collector as a fresh process makes it."""
    store = Store(url, prepare=False)
    source = KafkaSource(topics.settings(group), store.position)
    metrics = CollectorMetrics(CollectorRegistry())
    monitors = {WATCHED.name: WATCHED}
    made = Collector(
        source, store, batched(decode), CountingStatistics(), monitors, lambda: NOW_S, SETTINGS, None, metrics
    )
    return made, source, store


def run(topics: Topics, group: str, url: str, stop: threading.Event) -> None:
    """Collect until ``stop``."""
    made, source, store = collector(topics, group, url)
    try:
        made.run(stop)
    finally:
        source.close()
        store.close()


def settle(url: str) -> None:
    """What every collector does now and then: join labels and predictions whose writers passed each other."""
    store = Store(url, prepare=False)
    metrics = CollectorMetrics(CollectorRegistry())
    monitors = {WATCHED.name: WATCHED}
    statistics = CountingStatistics()
    Collector(
        ListSource(()), store, batched(decode), statistics, monitors, lambda: NOW_S, SETTINGS, None, metrics
    ).sweep()
    store.close()


def committed(store: Store) -> int:
    """Records that are committed."""
    return sum(offset for partition, offset in store.positions().items() if partition.startswith("kafka:"))


#: What depends on which of two streams was faster, on whom it was counted by, or on nothing but the database.
_PASSING = {"partition", "id", "number", "received_at_s", "revision"}
_NOT_COMPARED = {"labels", "totals", "window_states", "window_counts", "stream_spans", "streams", "window_revisions"}


def image(url: str) -> dict[str, Any]:
    """All that must be the same after any number of crashes, replays, rivals and rebalances."""
    engine = connect(url)
    with engine.connect() as connection:
        streams = {row[0]: tuple(row[1:]) for row in connection.execute(select(schema.streams))}
        found: dict[str, Any] = {}
        for table in schema.metadata.sorted_tables:
            if table.name not in _NOT_COMPARED:
                rows = [_row(dict(row), streams) for row in connection.execute(select(table)).mappings()]
                found[table.name] = sorted(rows, key=repr)
        found["labels"] = _newest(connection.execute(select(schema.labels)).mappings())
        positions = {row[0]: row[1] for row in connection.execute(select(schema.positions))}
        found["positions"] = {name: offset for name, offset in positions.items() if name.startswith("kafka:")}
        found["totals"] = _summed(connection.execute(select(schema.totals)).mappings())
        found["spans"] = _spans(connection.execute(select(schema.stream_spans)).mappings(), streams)
        found["states"] = _merged(connection.execute(select(schema.window_states)).mappings(), streams)
    engine.dispose()
    return found


def _row(row: dict[str, Any], streams: Mapping[int, Any]) -> tuple[Any, ...]:
    if "stream_id" in row:
        row["stream_id"] = streams[row["stream_id"]]
    return tuple((name, value) for name, value in row.items() if name not in _PASSING)


def _newest(rows: Any) -> dict[Any, Any]:
    newest: dict[Any, Any] = {}
    for row in sorted(map(dict, rows), key=lambda row: row["revision"]):
        newest[str(row["event_key"]), row["row"]] = (row["label"], row["observed_at_s"], row["wrong"], row["judged"])
    return newest


def _summed(rows: Any) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        # A label that came before its event waited for it; which of the two came first is no count of anything.
        if row["metric"] == names.LABELS.name and row["labels"].endswith('"pending"]'):
            continue
        key = (row["metric"], row["labels"])
        sums[key] = sums.get(key, 0) + row["value"]
    return sums


def _spans(rows: Any, streams: Mapping[int, Any]) -> dict[Any, tuple[int, int, float, float]]:
    sums: dict[Any, tuple[int, int, float, float]] = {}
    for row in rows:
        key = streams[row["stream_id"]]
        first, last = row["first_event_s"], row["last_event_s"]
        old = sums.get(key, (0, 0, float("inf"), float("-inf")))
        first_s = old[2] if first is None else min(old[2], first)
        last_s = old[3] if last is None else max(old[3], last)
        sums[key] = (old[0] + row["rows"], old[1] + row["labelled_rows"], first_s, last_s)
    return sums


def _merged(rows: Any, streams: Mapping[int, Any]) -> dict[Any, dict[str, float]]:
    merged: dict[Any, dict[str, float]] = {}
    for row in rows:
        counts = merged.setdefault((streams[row["stream_id"]], row["segment"], row["start_s"], row["end_s"]), {})
        for name, value in {**msgspec.json.decode(row["state"]), "change": row["change"]}.items():
            counts[name] = counts.get(name, 0) + value
    return {key: {name: value for name, value in counts.items() if value} for key, counts in merged.items()}


if __name__ == "__main__":
    run(Topics(sys.argv[1], sys.argv[3], sys.argv[4]), sys.argv[2], sys.argv[5], threading.Event())
