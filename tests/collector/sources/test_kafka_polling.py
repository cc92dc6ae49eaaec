"""A consumer whose caller hardly waits, against a real broker."""

import uuid

import pytest
from kafka import KafkaConsumer, KafkaProducer

from collector.sources.kafka_polling import poll
from tests.parts.processes import wait_until

pytestmark = pytest.mark.real


def test_topics_are_joined_when_they_appear_however_short_the_waits_are(kafka: str) -> None:
    name = uuid.uuid4().hex[:8]
    producer = KafkaProducer(bootstrap_servers=kafka)
    consumer = KafkaConsumer(
        bootstrap_servers=kafka, group_id=name, auto_offset_reset="earliest", metadata_max_age_ms=200
    )
    consumer.subscribe(pattern=f"^{name}.*$")
    found: list[str] = []
    for number in range(3):
        producer.send(f"{name}-{number}", b"1").get(240)

        def is_found(number: int = number) -> bool:
            for messages in poll(consumer, 0.001, 100).values():
                found.extend(message.topic for message in messages)
            return len(found) > number

        wait_until(is_found, 240, f"what is in {name}-{number}", pause_s=0.0)
    consumer.close()
    producer.close()
    assert found == [f"{name}-{number}" for number in range(3)]
