"""Traffic for the proofs that everything is counted once, a collector to be killed, and what of a store must be equal.

As a program it is a collector over Kafka that works until it is killed:
``python -m tests.collector.proof BOOTSTRAP GROUP INFERENCE LABELS DATABASE``.
"""

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient, NewTopic
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, func, select

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


#: Values of one row's labels with their ages, in the order in which they come: one, a repeated one, an older one that
#: comes later, a withdrawal alone; a correction, one of a correction, a withdrawal, a label after it.
_LABELS: Sequence[Sequence[tuple[int | None, float]]] = (
    ((1, 0.0),),
    ((0, 0.0),),
    ((1, 0.0), (1, 5.0)),
    ((1, 0.0), (0, -5.0)),
    ((None, 0.0),),
    ((1, 0.0), (0, 5.0)),
    ((0, 0.0), (1, 5.0), (0, 9.0)),
    ((1, 0.0), (None, 5.0)),
    ((0, 0.0), (None, 5.0), (1, 9.0)),
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
    """All that must be the same after any number of crashes, replays, rivals and rebalances.

    Labels of one row keep their order, but its prediction comes before, between or after them, as the other topic was
    read. What each of several labels is counted as depends on that (one that waits is corrected before anything was
    joined), and so do a row's history and its first judgement. The label in effect, all statistics, and how many labels
    ended at all do not. That what depends on it is counted once all the same is for :func:`effects` to show.
    """
    engine = connect(url)
    with engine.connect() as connection:
        streams = {row[0]: tuple(row[1:]) for row in connection.execute(select(schema.streams))}
        found: dict[str, Any] = {}
        for table in schema.metadata.sorted_tables:
            if table.name not in _NOT_COMPARED:
                rows = [_row(dict(row), streams) for row in connection.execute(select(table)).mappings()]
                found[table.name] = sorted(rows, key=repr)
        found["labels"] = {
            row: history[-1][:3]  # all but when it came
            for row, history in _histories(connection).items()
        }
        positions = {row[0]: row[1] for row in connection.execute(select(schema.positions))}
        found["positions"] = {name: offset for name, offset in positions.items() if name.startswith("kafka:")}
        found["totals"] = _summed(connection.execute(select(schema.totals)).mappings())
        found["spans"] = _spans(connection.execute(select(schema.stream_spans)).mappings(), streams)
        found["states"] = _merged(connection.execute(select(schema.window_states)).mappings(), streams)
        found["counts"] = _window_counts(connection, streams, delays=False)
    engine.dispose()
    return found


def effects(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What labels were counted as, and what follows from the rows' own histories: must be equal in every store.

    Outcomes of labels that waited are in no history: of corrections and withdrawals it tells the fewest.
    """
    engine = connect(url)
    with engine.connect() as connection:
        histories = _histories(connection)
        outcomes: Counter[str] = Counter()
        judged: Counter[str] = Counter()
        for row in connection.execute(select(schema.totals)).mappings():
            if row["metric"] == names.LABELS.name:
                outcomes[msgspec.json.decode(row["labels"])[2]] += row["value"]
            elif row["metric"] == names.JUDGED_PREDICTIONS.name:
                judged[msgspec.json.decode(row["labels"])[4]] += row["value"]
        counts = _window_counts(connection, {}, delays=True)
        states, rows = schema.window_states.c, schema.predictions
        change = connection.execute(select(func.sum(states.change)).where(states.segment == "")).scalar_one()
        stored = connection.execute(select(func.count()).select_from(rows)).scalar_one()
    engine.dispose()
    changes = Counter(outcome for history in histories.values() for outcome in _outcomes(history))
    firsts = [next((wrong for _, _, wrong in history if wrong is not None), None) for history in histories.values()]
    counted = {
        "changes": int(change),
        "joined": outcomes["joined"],
        "judged": judged,
        "delays": sum(count for (_, segment, *_, kind), count in counts.items() if kind == "delays" and not segment),
        "labelled": sum(
            count for (_, segment, *_, kind), count in counts.items() if kind == "labelled" and not segment
        ),
        "fewer than in the histories": [name for name in changes if outcomes[name] < changes[name]],
    }
    told = {
        "changes": stored + sum(map(_changes, histories.values())),
        "joined": changes["joined"],
        "judged": Counter({"correct": firsts.count(0), "incorrect": firsts.count(1)}),
        "delays": changes["joined"],
        "labelled": sum(history[-1][0] is not None for history in histories.values()),
        "fewer than in the histories": [],
    }
    return counted, told


def _outcomes(history: Sequence[tuple[str | None, float, int | None]]) -> Iterator[str]:
    """What the labels of one row that took effect were counted as."""
    before: str | None = None
    for place, (value, _, _) in enumerate(history):
        if value == before:
            yield "withdrawn" if place == 0 else "duplicate"
        elif value is None:
            yield "withdrawn"
        else:
            yield "joined" if place == 0 else "corrected"
        before = value


def _changes(history: Sequence[tuple[str | None, float, int | None]]) -> int:
    """How often statistics changed for one row's labels: once for each that goes, once for each that comes."""
    values = [None, *(value for value, _, _ in history)]
    return sum((old is not None) + (new is not None) for old, new in pairwise(values) if old != new)


def _row(row: dict[str, Any], streams: Mapping[int, Any]) -> tuple[Any, ...]:
    if "stream_id" in row:
        row["stream_id"] = streams[row["stream_id"]]
    return tuple((name, value) for name, value in row.items() if name not in _PASSING)


def _histories(connection: Connection) -> dict[tuple[str, int], list[tuple[str | None, float, int | None]]]:
    """Every row's labels in the order in which they took effect: value, when it was observed, whether it says wrong."""
    table = schema.labels.c
    statement = select(table.event_key, table.row, table.label, table.observed_at_s, table.wrong)
    found: dict[tuple[str, int], list[tuple[str | None, float, int | None]]] = {}
    for key, row, value, observed_at_s, wrong in connection.execute(statement.order_by(table.revision)):
        found.setdefault((str(key), row), []).append((value, observed_at_s, wrong))
    return found


def _summed(rows: Any) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["metric"], row["labels"])
        if row["metric"] == names.LABELS.name:
            # A label that came before its event waited for it; which of the two came first is no count of anything.
            if row["labels"].endswith('"pending"]'):
                continue
            key = (row["metric"], "all")
        elif row["metric"] == names.JUDGED_PREDICTIONS.name:
            continue
        sums[key] = sums.get(key, 0) + row["value"]
    return sums


def _window_counts(connection: Connection, streams: Mapping[int, Any], *, delays: bool) -> dict[Any, int]:
    """Rows, labelled rows and (all classes together) first labels, by stream, segment and window."""
    sums: dict[Any, int] = {}
    for row in connection.execute(select(schema.window_counts)).mappings():
        kind, _, segment = row["kind"].partition("|")
        if kind.startswith("wrong_delay/"):
            continue  # which of a row's labels came first is no count of anything
        if kind.startswith("delay/"):
            if not delays:
                continue
            kind = "delays"
        key = (streams.get(row["stream_id"]), segment, row["start_s"], row["end_s"], kind)
        sums[key] = sums.get(key, 0) + row["value"]
    return {key: count for key, count in sums.items() if count}


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
    """Statistics by window; not how many changes made them, because a correction is two and a withdrawal one."""
    merged: dict[Any, dict[str, float]] = {}
    for row in rows:
        counts = merged.setdefault((streams[row["stream_id"]], row["segment"], row["start_s"], row["end_s"]), {})
        for name, value in msgspec.json.decode(row["state"]).items():
            counts[name] = counts.get(name, 0) + value
    return {key: {name: value for name, value in counts.items() if value} for key, counts in merged.items()}


if __name__ == "__main__":
    run(Topics(sys.argv[1], sys.argv[3], sys.argv[4]), sys.argv[2], sys.argv[5], threading.Event())
