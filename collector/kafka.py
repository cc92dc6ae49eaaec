"""Kafka as a source of records; the only module of this room that knows the client.

The store says where reading goes on, not the broker: offsets are committed to Kafka too, but only so that people can
watch the group's lag. Partitions are named ``kafka:TOPIC:NUMBER``. When the group is shared out anew, the client
throws away what it had fetched of lost partitions, and every partition it gets is read from its committed position.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from collector.settings import KafkaSettings
from driftline.errors import EventError, UnavailableError
from driftline.events import InferenceEvent, KafkaHeaders, Label, decode_inference, decode_label
from driftline.records import Malformed, Record

_MALFORMED = "malformed"
_PREFIX = "kafka"

#: Where reading of a partition goes on; None: from its beginning.
Start = Callable[[str], int | None]


class KafkaSource:
    """Reads events and labels of one consumer group; a ``RecordSource``. Not to be shared between threads."""

    def __init__(self, settings: KafkaSettings, start: Start) -> None:
        self._labels_topic = settings.topic_labels
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=list(settings.bootstrap),
                group_id=settings.group,
                client_id="driftline-collector",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=5000,
                fetch_max_wait_ms=200,
                metadata_max_age_ms=30_000,
            )
            topics = [settings.topic_inference, settings.topic_labels]
            self._consumer.subscribe(topics, listener=_SeekToStore(self._consumer, start))
        except KafkaError as error:
            raise UnavailableError("kafka", f"{', '.join(settings.bootstrap)}: {error}") from error

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises UnavailableError when the broker is away."""
        try:
            found = self._consumer.poll(timeout_ms=max(0, round(timeout_s * 1000)), max_records=max_records)
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error
        return [self._record(message) for messages in found.values() for message in messages]

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Tell the broker how far the store got, without waiting; only people read it."""
        topic_partition = _topic_partition(partition)
        if topic_partition in self._consumer.assignment():
            self._consumer.commit_async({topic_partition: OffsetAndMetadata(next_offset, "", -1)})

    def lag(self) -> Mapping[str, int]:
        """Records between the next to be read and the end, by partition, as of the last fetch."""
        lags = {}
        for topic_partition in self._consumer.assignment():
            end = self._consumer.highwater(topic_partition)
            if end is not None:
                lags[partition_name(topic_partition)] = max(0, end - self._consumer.position(topic_partition))
        return lags

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _record(self, message: Any) -> Record:
        partition = partition_name(TopicPartition(message.topic, message.partition))
        content = read_message(
            message.headers or (), message.value or b"", is_label=message.topic == self._labels_topic
        )
        return Record(partition, message.offset, message.offset + 1, content)


class _SeekToStore(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts every newly given partition where the store says."""

    def __init__(self, consumer: "KafkaConsumer", start: Start) -> None:
        self._consumer = consumer
        self._start = start

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Nothing is lost: what was not committed to the store is read again by the next owner."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        """Seek; a partition the store does not know starts at its beginning."""
        for topic_partition in assigned:
            offset = self._start(partition_name(topic_partition))
            if offset is None:
                self._consumer.seek_to_beginning(topic_partition)
            else:
                self._consumer.seek(topic_partition, offset)


def read_message(headers: KafkaHeaders, value: bytes, *, is_label: bool) -> InferenceEvent | Label | Malformed:
    """The content of one message; what breaks its contract comes back as Malformed with its bytes."""
    try:
        return decode_label(headers, value) if is_label else decode_inference(headers, value)
    except (EventError, ValueError, OverflowError) as error:
        return Malformed(_MALFORMED, str(error), value)


def partition_name(topic_partition: Any) -> str:
    """``kafka:TOPIC:NUMBER``."""
    return f"{_PREFIX}:{topic_partition.topic}:{topic_partition.partition}"


def _topic_partition(partition: str) -> Any:
    _, topic, number = partition.split(":")
    return TopicPartition(topic, int(number))
