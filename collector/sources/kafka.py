"""Our two topics in Kafka as a source of records, read as fast as can be."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaError

from collector.settings import KafkaSettings
from collector.sources.event_templates import MALFORMED, EventReader
from collector.sources.kafka_distances import Distances
from collector.sources.kafka_polling import membership, poll
from collector.sources.kafka_positions import SeekToStore, Start, partition_name, tell_broker
from collector.sources.kafka_records import RawRecords, read_headers, records
from collector.sources.record_scanning import RecordScanner, record_scanner
from driftline.errors import EventError, UnavailableError
from driftline.events import Label, decode_label
from driftline.record_batches import RecordBatch, RecordRun
from driftline.records import Malformed, Reach, Record

_SECOND_FORMAT = 2


class KafkaSource:
    """Reads events and labels of one consumer group; a ``RecordSource``. Not to be shared between threads."""

    def __init__(self, settings: KafkaSettings, start: Start) -> None:
        scanner = record_scanner()
        self._messages = MessageReader(settings.topic_labels, scanner)
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=list(settings.bootstrap),
                group_id=settings.group,
                client_id="driftline-collector",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=5000,
                fetch_max_wait_ms=200,
                **membership(settings.session_s),
                metadata_max_age_ms=30_000,
                fetch_max_bytes=settings.fetch_bytes,
                max_partition_fetch_bytes=settings.fetch_bytes // 4,
                metrics_enabled=False,
            )
            self._consumer._fetcher.PartitionRecords = partial(FetchedRecords, scanner=scanner)  # noqa: SLF001 - see there
            topics = [settings.topic_inference, settings.topic_labels]
            self._seek = SeekToStore(self._consumer, start)
            self._distances = Distances(self._consumer, start)
            self._consumer.subscribe(topics, listener=self._seek)
        except KafkaError as error:
            raise UnavailableError("kafka", f"{', '.join(settings.bootstrap)}: {error}") from error

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises UnavailableError when the broker is away."""
        try:
            self._seek.check()
            found = poll(self._consumer, timeout_s, max_records)
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error
        return self._messages.records(found)

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Tell the broker how far the store got, without waiting; only people read it."""
        tell_broker(self._consumer, partition, next_offset)

    def go_back(self, partition: str) -> bool:
        """Read a partition again from where the store says."""
        return self._seek.go_back(partition)

    def held(self) -> Mapping[str, str]:
        """The partitions of topics that were made anew, each with what people are to do."""
        return self._seek.held()

    def lag(self) -> Mapping[str, int]:
        """Records between the next to be read and the end, by partition; raises UnavailableError."""
        return self._distances.now()

    def elsewhere(self) -> Mapping[str, Reach]:
        """How far the store is with what others of the group have to read; raises UnavailableError."""
        return self._distances.elsewhere()

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


class MessageReader:
    """What the client hands out, as records with events and labels. For one thread."""

    def __init__(self, labels_topic: str, scanner: RecordScanner | None = None) -> None:
        self._labels_topic = labels_topic
        self._events = EventReader(scanner)

    def records(self, found: Mapping[Any, Sequence[RawRecords]]) -> RecordBatch:
        """The records of each partition of the client; as :meth:`FetchedRecords.take` gives them."""
        parts: list[Sequence[Record]] = []
        for topic_partition, messages in found.items():
            partition = partition_name(topic_partition.topic, topic_partition.partition)
            chunks = _chunks(messages)
            if topic_partition.topic == self._labels_topic:
                parts.append(self._labels(partition, chunks))
            else:
                parts.append(self._inferences(partition, chunks))
        return RecordBatch.of(parts)

    def _inferences(self, partition: str, chunks: Sequence[RawRecords]) -> RecordBatch:
        read = self._events.read(chunks)
        offsets = np.concatenate([chunk.offsets for chunk in chunks])
        runs = [(places, RecordRun(partition, offsets[places], events)) for places, events in read.runs]
        others = {}
        for place, content in sorted(read.others.items(), key=itemgetter(0)):
            offset = int(offsets[place])
            others[place] = Record(partition, offset, offset + 1, content)
        return RecordBatch(runs, others)

    @staticmethod
    def _labels(partition: str, chunks: Sequence[RawRecords]) -> list[Record]:
        return [
            Record(partition, offset, offset + 1, read_label(block, value))
            for chunk in chunks
            for offset, (block, value) in zip(chunk.offsets.tolist(), chunk.messages(), strict=True)
        ]


class FetchedRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, as raw records: kafka-python's own class but for the loop over records.

    This is the only place that leans on what kafka-python does not document: the class that ``Fetcher`` makes its
    records with, and the buffer of a batch. Tests against a real broker hold it.
    """

    _left: RawRecords | None = None

    def __init__(self, *arguments: Any, scanner: RecordScanner | None = None, **named: Any) -> None:
        self._scanner = scanner
        super().__init__(*arguments, **named)

    def take(self, n: int | None = None) -> list[RawRecords]:
        """The next records, up to ``n``: chunks of them, each as often as it holds records.

        The client counts what it hands out, and looks at none of it.
        """
        self._maybe_raise_next_inline_exception()
        found: list[RawRecords] = []
        try:
            while n is None or len(found) < n:
                chunk = self._left or next(self.record_iterator, None)
                if chunk is None:
                    break
                room = len(chunk) if n is None else n - len(found)
                self._left = chunk[room:] if len(chunk) > room else None
                found += [chunk[:room]] * min(room, len(chunk))
        except Exception as error:  # as the client's own does: told at the next call
            if not found:
                raise
            self._next_inline_exception = error
        if found and self:  # else the end of the last batch says where to go on
            self.next_fetch_offset = found[-1].next_offset
        return found

    def _unpack_records(
        self, topic_partition: Any, fetched: Any, _key_deserializer: Any, _value_deserializer: Any
    ) -> Iterator[RawRecords]:
        while (batch := fetched.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                place = partition_name(topic_partition.topic, topic_partition.partition)
                raise CorruptRecordError(f"{place}: batch at {batch.base_offset} is damaged")
            self.bytes_read += batch.size_in_bytes
            found = _raw_records(batch, self._scanner)
            self.records_read += len(found)
            # Who begins within a batch gets all of it.
            found = found[int(np.searchsorted(found.offsets, self.fetch_offset)) :]
            if len(found):
                yield found
            if batch.magic == _SECOND_FORMAT:
                self.leader_epoch = batch.leader_epoch
                self.next_fetch_offset = batch.next_offset  # the last records of a compacted batch may be gone
            elif len(found):
                self.next_fetch_offset = found.next_offset
        self.drain()


def _raw_records(batch: Any, scanner: RecordScanner | None) -> RawRecords:
    if batch.magic != _SECOND_FORMAT:
        old = list(batch)
        return RawRecords.of([(b"\0", record.value or b"") for record in old], [record.offset for record in old])
    if batch.is_control_batch:
        return RawRecords.of([], [])
    iter(batch)  # uncompresses
    return records(batch._buffer, batch._pos, batch.records_count, batch.base_offset, scanner)  # noqa: SLF001


def _chunks(taken: Sequence[RawRecords]) -> list[RawRecords]:
    """Each chunk of what :meth:`FetchedRecords.take` took once."""
    chunks: list[RawRecords] = []
    at = 0
    while at < len(taken):
        chunks.append(taken[at])
        at += len(taken[at])
    return chunks


def read_label(block: bytes, value: bytes) -> Label | Malformed:
    """The label in one message, ``block`` being its headers; what breaks its contract comes back with its bytes."""
    try:
        return decode_label(read_headers(block), value)
    except (EventError, ValueError, OverflowError) as error:
        return Malformed(MALFORMED, str(error), value)
