"""Our two topics in Kafka as a source of records, read as fast as can be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaError

from collector.settings import KafkaSettings
from collector.sources.event_templates import MALFORMED, EventReader, Message
from collector.sources.kafka_polling import poll
from collector.sources.kafka_positions import SeekToStore, Start, lag_of, partition_name, tell_broker
from collector.sources.kafka_records import RawRecord, read_headers, records
from driftline.errors import EventError, UnavailableError
from driftline.events import Label, decode_label
from driftline.records import Malformed, Record

_SECOND_FORMAT = 2


class KafkaSource:
    """Reads events and labels of one consumer group; a ``RecordSource``. Not to be shared between threads."""

    def __init__(self, settings: KafkaSettings, start: Start) -> None:
        self._labels_topic = settings.topic_labels
        self._events = EventReader()
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
                fetch_max_bytes=settings.fetch_bytes,
                max_partition_fetch_bytes=settings.fetch_bytes // 4,
                metrics_enabled=False,
            )
            self._consumer._fetcher.PartitionRecords = _Records  # noqa: SLF001 - see _Records
            topics = [settings.topic_inference, settings.topic_labels]
            self._consumer.subscribe(topics, listener=SeekToStore(self._consumer, start))
        except KafkaError as error:
            raise UnavailableError("kafka", f"{', '.join(settings.bootstrap)}: {error}") from error

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises UnavailableError when the broker is away."""
        try:
            found = poll(self._consumer, timeout_s, max_records)
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error
        records: list[Record] = []
        for topic_partition, messages in found.items():
            partition = partition_name(topic_partition.topic, topic_partition.partition)
            read = self._labels if topic_partition.topic == self._labels_topic else self._events.read
            contents = read([(raw.headers, raw.value) for raw in messages])
            records.extend(
                [
                    Record(partition, raw.offset, raw.offset + 1, content)
                    for raw, content in zip(messages, contents, strict=True)
                ]
            )
        return records

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Tell the broker how far the store got, without waiting; only people read it."""
        tell_broker(self._consumer, partition, next_offset)

    def lag(self) -> Mapping[str, int]:
        """Records between the next to be read and the end, by partition, as of the last fetch."""
        return lag_of(self._consumer)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    @staticmethod
    def _labels(messages: Sequence[Message]) -> Sequence[Label | Malformed]:
        return [read_label(block, value) for block, value in messages]


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, as raw records: kafka-python's own class but for the loop over records.

    This is the only place that leans on what kafka-python does not document: the class that ``Fetcher`` makes its
    records with, and the buffer of a batch. Tests against a real broker hold it.
    """

    def take(self, n: int | None = None) -> list[RawRecord]:
        """The next records, up to ``n``."""
        found: list[RawRecord] = super().take(n)
        if found and self:  # else the end of the last batch says where to go on
            self.next_fetch_offset = found[-1].offset + 1
        return found

    def _unpack_records(
        self, topic_partition: Any, fetched: Any, _key_deserializer: Any, _value_deserializer: Any
    ) -> Iterator[RawRecord]:
        while (batch := fetched.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                place = partition_name(topic_partition.topic, topic_partition.partition)
                raise CorruptRecordError(f"{place}: batch at {batch.base_offset} is damaged")
            self.bytes_read += batch.size_in_bytes
            found = _raw_records(batch)
            self.records_read += len(found)
            yield from found
            if batch.magic == _SECOND_FORMAT:
                self.leader_epoch = batch.leader_epoch
                self.next_fetch_offset = batch.next_offset  # the last records of a compacted batch may be gone
            elif found:
                self.next_fetch_offset = found[-1].offset + 1
        self.drain()


def _raw_records(batch: Any) -> list[RawRecord]:
    if batch.magic != _SECOND_FORMAT:
        return [RawRecord(record.offset, record.value or b"", b"\0") for record in batch]
    if batch.is_control_batch:
        return []
    iter(batch)  # uncompresses
    return records(bytes(batch._buffer), batch._pos, batch.records_count, batch.base_offset)  # noqa: SLF001


def read_label(block: bytes, value: bytes) -> Label | Malformed:
    """The label in one message, ``block`` being its headers; what breaks its contract comes back with its bytes."""
    try:
        return decode_label(read_headers(block), value)
    except (EventError, ValueError, OverflowError) as error:
        return Malformed(MALFORMED, str(error), value)
