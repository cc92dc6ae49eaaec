"""Topics of others and the inbox against a real broker."""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from collector.labels.from_seldon import read_feedback
from collector.sources.cloud_event import CloudEvent
from collector.sources.inbox import UNAVAILABLE
from collector.sources.interpreting import Interpreter
from collector.sources.kafka_topics import KafkaInbox, TopicsSettings, TopicsSource
from collector.sources.merging import MergedSource
from collector.sources.waiting_room import WaitingRoom
from collector.store.store import Store
from driftline import names
from driftline.errors import TransientError
from driftline.halves import Half
from driftline.records import Record
from tests.collector.helpers import MONITORS, Parts, event, tables
from tests.collector.sources.messages import kserve
from tests.collector.sources.parts import outcomes, pairing_collector
from tests.parts.kafka import KafkaBroker, make_topics, said
from tests.parts.processes import wait_until

pytestmark = pytest.mark.real
INTERPRETER = Interpreter(MONITORS, read_feedback)
#: How long a broker on a busy machine may take.
PATIENCE_S = 240.0


@pytest.fixture
def name(kafka: str) -> str:
    return uuid.uuid4().hex[:8]


@pytest.fixture
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=kafka)
    yield client
    client.close()


def halves_of(number: int) -> list[CloudEvent]:
    whole, sent = event(number), []
    for kind, body in (("request", whole.request.body), ("response", whole.response.body)):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole.time_s))
        fields = kserve(kind, ce_id=f"id-{number}", ce_time=at)
        sent.append(CloudEvent(attributes={name[3:]: text for name, text in fields if name[:3] == "ce-"}, body=body))
    return sent


def run_until(parts: Parts, source: TopicsSource, rows: int) -> None:
    collector = pairing_collector(parts, source)

    def are_paired() -> bool:
        collector.run_once()
        return outcomes(parts.store).get("paired", 0) >= 2 * rows

    wait_until(are_paired, PATIENCE_S, f"{rows} rows")


def test_both_halves_of_an_inference_are_in_one_partition_of_the_inbox(
    kafka: str, name: str, admin: KafkaAdminClient, parts: Parts, url: str
) -> None:
    make_topics(kafka, {f"inbox-{name}": 3})
    inbox = KafkaInbox((kafka,), f"inbox-{name}", 1 << 20, PATIENCE_S)
    sent = [half for number in range(20) for half in halves_of(number)]
    assert inbox.append(sent) == {}
    source = TopicsSource(
        TopicsSettings((kafka,), f"group-{name}", {}, f"inbox-{name}"), parts.store.position, INTERPRETER
    )
    run_until(parts, source, 20)
    assert len(tables(url)["predictions"]) == 20
    # Nothing had to wait for another partition: every half met its other one where it came.
    assert outcomes(parts.store) == {"received": 40, "paired": 40}
    assert sum(parts.store.positions().values()) == 40
    source.poll(10, 1.0)
    source.close()
    inbox.close()
    # Of the inbox people can watch the group's lag.
    group = admin.list_group_offsets(f"group-{name}")
    assert f"inbox-{name}" in str(group)


def test_an_inbox_that_does_not_answer_keeps_nothing(kafka: str, name: str) -> None:
    inbox = KafkaInbox((kafka,), f"inbox-{name}", 1 << 20, PATIENCE_S)
    assert inbox.append(halves_of(1)) == {}
    inbox._producer.close(timeout=1)
    assert inbox.append(halves_of(2)) == dict.fromkeys(range(2), UNAVAILABLE)


def test_seldon_v2s_topics_are_found_by_pattern_and_read_without_a_trace(
    kafka: str, name: str, admin: KafkaAdminClient, producer: KafkaProducer, parts: Parts, url: str
) -> None:
    prefix = f"s{name}.default.model.flights"
    settings = TopicsSettings((kafka,), f"group-{name}", {f"s{name}.*": "seldon-v2"}, look_every_s=0.5)
    whole = [event(number) for number in range(12)]
    for one in whole[:6]:
        send_seldon(producer, prefix, one)
    source = TopicsSource(settings, parts.store.position, INTERPRETER)
    run_until(parts, source, 6)
    # A topic that appears later is found as well; this one's answers come before their requests.
    for one in whole[6:]:
        send_seldon(producer, f"s{name}.default.model.delay", one, answers_first=True)
        send_seldon(producer, prefix, one, answers_first=True)
    run_until(parts, source, 18)
    source.close()
    assert outcomes(parts.store)["paired"] == 36
    assert len(tables(url)["predictions"]) == 12 + 6
    assert f"s{name}" not in str(admin.list_group_offsets(f"group-{name}"))


def send_seldon(producer: KafkaProducer, prefix: str, one, *, answers_first: bool = False) -> None:
    ends = [("inputs", one.request.body), ("outputs", one.response.body)]
    for end, body in reversed(ends) if answers_first else ends:
        headers = [("x-request-id", one.request_id.encode()), ("seldon-infer-type", b"json/inferModelRequest")]
        producer.send(f"{prefix}.{end}", value=body, key=one.request_id.encode(), headers=headers)
    producer.flush()


def test_reading_goes_on_where_the_store_says(kafka: str, name: str, producer: KafkaProducer) -> None:
    for half in [half for number in range(5) for half in halves_of(number)]:
        headers = [(f"ce_{key}", text.encode()) for key, text in half.attributes.items()]
        producer.send(f"events-{name}", value=half.body, headers=headers)
    producer.flush()
    settings = TopicsSettings((kafka,), f"group-{name}", {f"events-{name}": "any"})
    source = TopicsSource(settings, lambda _: 7, INTERPRETER)
    found: list[Record] = []

    def are_read() -> bool:
        found.extend(source.poll(100, 0.5))
        return len(found) >= 3

    wait_until(are_read, PATIENCE_S, "three records")
    assert [record.offset for record in found] == [7, 8, 9]
    assert all(isinstance(record.content, Half) for record in found)
    assert said(source.lag) == {f"kafka:events-{name}:0": 0}
    source.close()


def test_names_with_stars_are_patterns_and_nothing_else_is() -> None:
    settings = TopicsSettings(("x:1",), "g", {"seldon.*": "seldon-v2", "a.b": "seldon-v1"}, "in.box")
    assert settings.pattern() == r"^(seldon\..*|a\.b|in\.box)$"
    assert (settings.kind("seldon.ns.model.m.inputs"), settings.kind("a.b"), settings.kind("axb")) == (
        "seldon-v2",
        "seldon-v1",
        "any",
    )


def test_two_collectors_whose_halves_are_in_different_partitions_lose_and_double_nothing(
    kafka: str, name: str, producer: KafkaProducer, parts: Parts, url: str
) -> None:
    """As a broker without keys deals them out; one collector leaves half-way and another comes."""
    topic, count = f"dealt-{name}", 40
    make_topics(kafka, {topic: 2})
    for number in range(count):
        for place, half in enumerate(halves_of(number)):
            headers = [(f"ce_{key}", text.encode()) for key, text in half.attributes.items()]
            producer.send(topic, value=half.body, headers=headers, partition=place)
    producer.flush()
    settings = TopicsSettings((kafka,), f"group-{name}", {topic: "any"})
    failures: list[TransientError] = []
    running: list[threading.Event] = []
    threads: list[threading.Thread] = []

    def start() -> None:
        stop = threading.Event()
        own = Parts(Store(url, prepare=False))
        room = WaitingRoom(
            own.store, own.monitors, own.clock, maximum_halves=1000, maximum_bytes=10**9, look_every_s=0.1
        )
        source = MergedSource(TopicsSource(settings, own.store.position, INTERPRETER), [room], failures.append)

        def work() -> None:
            pairing_collector(own, source).run(stop)
            source.close()
            own.store.close()

        running.append(stop)
        threads.append(threading.Thread(target=work))
        threads[-1].start()

    try:
        start()
        start()
        wait_until(lambda: outcomes(parts.store).get("received", 0) >= count // 2, PATIENCE_S, "half of it read")
        running[0].set()
        start()
        wait_until(lambda: outcomes(parts.store).get("paired", 0) == 2 * count, PATIENCE_S, "all halves paired")
    finally:
        for stop in running:
            stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert outcomes(parts.store) == {"received": 2 * count, "paired": 2 * count}
    assert len(tables(url)["predictions"]) == count
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": count}


@pytest.mark.slow
def test_halves_wait_out_a_broker_that_is_away_for_longer_than_their_time(
    kafka_broker: KafkaBroker, parts: Parts
) -> None:
    bootstrap, limit_s = kafka_broker.bootstrap, max(monitor.pairing.timeout for monitor in MONITORS.values())
    make_topics(bootstrap, {"inbox": 1})
    inbox = KafkaInbox((bootstrap,), "inbox", 1 << 20, PATIENCE_S)
    (request, response), (late, lone) = halves_of(1), halves_of(2)
    room = WaitingRoom(parts.store, MONITORS, parts.clock, maximum_halves=100, maximum_bytes=10**9, look_every_s=0.0)
    topics = TopicsSource(TopicsSettings((bootstrap,), "group", {}, "inbox"), parts.store.position, INTERPRETER)
    collector = pairing_collector(parts, MergedSource(None, [room, topics], lambda _error: None))
    room.follow(collector.activity.behind_s, collector.activity.is_away)

    def turn(expected: Mapping[str, int]) -> bool:
        collector.run_once()
        return outcomes(parts.store) == expected

    assert not inbox.append([response, lone])
    wait_until(lambda: turn({"received": 2}), PATIENCE_S, "two halves wait")
    assert not inbox.append([request])  # nobody has read it when the broker goes, unless its client was quick
    kafka_broker.stop()
    at_the_end = {"received": 3, "paired": 2}
    wait_until(lambda: not turn({}) and collector.activity.is_away(), PATIENCE_S, "the broker is away")
    parts.clock.advance(2 * limit_s)
    for _ in range(3):
        assert turn({"received": 2}) or turn(at_the_end)
    kafka_broker.start()
    wait_until(lambda: turn(at_the_end) and room.room.halves == 1, PATIENCE_S, "what lay there is paired")
    wait_until(lambda: not inbox.append([late]), PATIENCE_S, "who sends reaches the broker again, too")
    wait_until(lambda: turn({"received": 4, "paired": 4}), PATIENCE_S, "what comes after it is paired as well")
    topics.close()
    inbox.close()
