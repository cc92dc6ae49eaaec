"""The Kafka source against a real broker."""

import re
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer
from sqlalchemy import insert

from collector.settings import KafkaSettings
from collector.sources.kafka import KafkaSource, read_label
from collector.sources.kafka_records import write_headers
from collector.store import schema
from driftline.errors import UnavailableError
from driftline.events import KafkaMessage, encode_inference, encode_label
from driftline.records import Malformed, Reach, Record
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, START_S, Parts, event, label, merged
from tests.parts.kafka import KafkaBroker, make_topics, said
from tests.parts.processes import wait_until


def test_a_label_that_breaks_its_contract_comes_back_with_its_bytes() -> None:
    found = read_label(write_headers([("ce_type", b"\xff")]), b"not json")
    assert isinstance(found, Malformed)
    assert found.raw == b"not json"
    assert "ce_type" in found.detail


def test_a_label_is_read_as_it_was_sent() -> None:
    truth = encode_label(label(1, 1), "id")
    assert read_label(write_headers(truth.headers), truth.value) == label(1, 1)


@pytest.fixture
def topics(kafka: str) -> KafkaSettings:
    name = uuid.uuid4().hex[:8]
    settings = KafkaSettings((kafka,), f"group-{name}", f"inference-{name}", f"labels-{name}")
    make_topics(kafka, {settings.topic_inference: 2, settings.topic_labels: 1})
    return settings


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka)
    yield producer
    producer.close()


def send(producer: KafkaProducer, topic: str, messages: list[KafkaMessage]) -> None:
    sent = [producer.send(topic, value=value, key=key, headers=headers) for headers, key, value in messages]
    for one in sent:
        one.get(240)


def read(source: KafkaSource, count: int) -> list[Record]:
    found: list[Record] = []

    def are_read() -> bool:
        found.extend(source.poll(100, 0.5))
        return len(found) >= count

    wait_until(are_read, 240, f"{count} records")
    return found


@pytest.mark.real
def test_what_comes_while_nothing_is_polled_is_behind(topics: KafkaSettings, producer: KafkaProducer) -> None:
    messages = [encode_inference(event(number)) for number in range(30)]
    send(producer, topics.topic_inference, messages)
    source = KafkaSource(topics, lambda _partition: None)
    assert len(read(source, 30)) == 30
    said(source.lag)  # as of that fetch
    send(producer, topics.topic_inference, messages[:20])
    assert sum(said(source.lag).values()) == 20
    source.close()


@pytest.mark.real
def test_events_and_labels_travel_from_the_broker_into_the_store(
    topics: KafkaSettings, producer: KafkaProducer, parts: Parts
) -> None:
    send(producer, topics.topic_inference, [encode_inference(event(number)) for number in range(30)])
    send(producer, topics.topic_inference, [KafkaMessage([("ce_type", b"x")], b"k", b"broken")])
    send(producer, topics.topic_labels, [encode_label(label(number, 1), str(number)) for number in range(30)])
    source = KafkaSource(topics, parts.store.position)
    collector = parts.collector_of(source)
    handled = 0

    def are_handled() -> bool:
        nonlocal handled
        handled += collector.run_once()
        return handled >= 61

    wait_until(are_handled, 240, "61 records")
    assert sum(said(source.lag).values()) == 0
    source.close()
    window = WindowKey(StreamKey("default", "flights", "3", "stable"), "", START_S, START_S + HOUR_S)
    counts = merged(parts.store.window_states(window))
    assert (counts["rows"], counts["judged 0/1"], counts["judged 1/1"]) == (30, 15, 15)
    assert [letter.reason for letter in parts.store.dead_letters(5)] == ["malformed"]
    assert sum(parts.store.positions().values()) == 61


@pytest.mark.real
def test_reading_goes_on_where_the_store_says_whatever_the_broker_remembers(
    topics: KafkaSettings, producer: KafkaProducer
) -> None:
    send(producer, topics.topic_inference, [encode_inference(event(number)) for number in range(20)])
    first = KafkaSource(topics, lambda _: None)
    records = read(first, 20)
    assert len(records) == 20
    ends = {record.partition: record.next_offset for record in records}
    for partition, end in ends.items():
        first.acknowledge(partition, end)
    first.poll(1, 0.2)
    first.close()
    again = KafkaSource(topics, lambda partition: ends[partition] - 1 if partition in ends else None)
    found = read(again, len(ends))
    again.close()
    assert {record.partition: record.next_offset for record in found} == ends


@pytest.mark.real
def test_a_second_member_takes_its_share_and_nothing_is_counted_twice(
    topics: KafkaSettings, producer: KafkaProducer, parts: Parts
) -> None:
    send(producer, topics.topic_inference, [encode_inference(event(number)) for number in range(40)])
    sources = [KafkaSource(topics, parts.store.position) for _ in range(2)]
    collectors = [parts.collector_of(source) for source in sources]

    def are_stored() -> bool:
        for collector in collectors:
            collector.run_once()
        return sum(parts.store.positions().values()) >= 40

    wait_until(are_stored, 240, "forty events")
    for source in sources:
        source.close()
    window = WindowKey(StreamKey("default", "flights", "3", "stable"), "", START_S, START_S + HOUR_S)
    assert merged(parts.store.window_states(window))["rows"] == 40


@pytest.mark.real
def test_a_topic_that_was_made_anew_waits_alone_until_somebody_acts(
    topics: KafkaSettings, producer: KafkaProducer, parts: Parts, url: str
) -> None:
    send(producer, topics.topic_inference, [encode_inference(event(number)) for number in range(20)])
    partitions = [f"kafka:{topics.topic_inference}:{number}" for number in range(2)]
    with parts.store.transaction() as transaction:
        # One is shorter than the store remembers; of the other so much is not known, and it is of the same topic.
        transaction.connection.execute(insert(schema.positions), {"partition": partitions[0], "next_offset": 30})
    source = KafkaSource(topics, parts.store.position)

    def looked_at() -> bool:
        source.poll(100, 0.5)  # may hand out what lies there, once: of what is shorter, all is behind the position
        return bool(source.held())

    wait_until(looked_at, 120, "the partitions are looked at")
    (told,) = {*source.held().values()}
    assert sorted(source.held()) == partitions
    assert f"'{partitions[0]}' ended at " in told
    assert "the store has read it up to 30." in told
    assert not set(partitions) & set(said(source.lag))

    send(producer, topics.topic_labels, [encode_label(label(number, "1"), f"label-{number}") for number in range(20)])
    send(producer, topics.topic_inference, [encode_inference(event(number)) for number in range(20, 100)])
    labels = read(source, 20)
    assert {record.partition.split(":")[1] for record in labels} == {topics.topic_labels}
    assert not [record for record in source.poll(100, 2.0) if record.partition in partitions]

    command = re.search(r'"(DELETE [^"]*)"', told)
    assert command is not None
    with parts.store.transaction() as transaction:
        transaction.connection.exec_driver_sql(command[1])
    assert len(read(source, 100)) == 100
    assert source.held() == {}
    source.close()


@pytest.mark.real
def test_how_far_the_store_is_with_what_others_have_to_read(topics: KafkaSettings, producer: KafkaProducer) -> None:
    for number in range(10):
        headers, key, value = encode_inference(event(number))
        producer.send(topics.topic_inference, value=value, key=key, headers=headers, partition=number % 2).get(240)
    names = [f"kafka:{topics.topic_inference}:{number}" for number in range(2)]
    stored = {names[0]: 3}
    sources = [KafkaSource(topics, stored.get) for _ in range(2)]

    def shared() -> bool:
        for source in sources:
            source.poll(100, 0.5)
        return all(len(set(names) & set(said(source.lag))) == 1 for source in sources)

    wait_until(shared, 240, "each of the two has a partition")
    (first,) = set(names) & set(said(sources[0].lag))
    other = names[1 - names.index(first)]
    told = [{name: reach for name, reach in said(source.elsewhere).items() if name in names} for source in sources]
    reaches = {names[0]: Reach(3, 5), names[1]: Reach(0, 5)}
    assert told == [{other: reaches[other]}, {first: reaches[first]}]
    for source in sources:
        source.close()


@pytest.mark.real
@pytest.mark.slow
def test_a_broker_that_is_away_is_not_a_stream_that_is_at_its_end(kafka_broker: KafkaBroker) -> None:
    settings = KafkaSettings((kafka_broker.bootstrap,))
    make_topics(kafka_broker.bootstrap, {settings.topic_inference: 2, settings.topic_labels: 1})
    source = KafkaSource(settings, lambda _partition: None)

    def lag() -> dict[str, int] | None:
        try:
            source.poll(10, 0.5)  # looks whether topics are as long as the store remembers them, where that is new
            return dict(source.lag())
        except UnavailableError:
            return None

    wait_until(lambda: len(lag() or {}) == 3, 120, "the partitions are read")
    kafka_broker.pause()
    wait_until(lambda: lag() is None, 120, "the lag is not known")
    kafka_broker.resume()
    wait_until(lambda: len(lag() or {}) == 3, 120, "the lag is known")
    source.close()
