"""Where reading of Kafka's partitions goes on: the store says it, not the broker.

Offsets are committed to Kafka too, but only so that people can watch the group's lag. Partitions are named
``kafka:TOPIC:NUMBER``. When the group is shared out anew, the client throws away what it had fetched of lost
partitions, and every partition it gets is read from its committed position.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.structs import OffsetAndMetadata, TopicPartition

_log = logging.getLogger("driftline.collector")
_PREFIX = "kafka"
#: Between two looks whether the store has another position of a topic that is not read.
_LOOK_EVERY_S = 1.0

#: Where reading of a partition goes on; None: from its beginning.
Start = Callable[[str], int | None]


class _Shorter(NamedTuple):
    """Where a partition ended that the store has read up to ``position``, which is further."""

    end: int
    position: int


class SeekToStore(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts every newly given partition where the store says, and reads no topic that cannot be the one it knows.

    ``monotonic``: seconds of a clock that never jumps.
    """

    def __init__(self, consumer: KafkaConsumer, start: Start, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._start = start
        self._monotonic = monotonic
        self._unchecked: set[TopicPartition] = set()
        self._shorter: dict[TopicPartition, _Shorter] = {}
        self._next_look_s = 0.0

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Nothing is lost: what was not committed to the store is read again by the next owner."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        """Seek; a partition the store does not know starts at its beginning."""
        self._unchecked, self._shorter = set(assigned), {}
        self._consumer.resume(*assigned)
        self._seek(assigned)

    def check(self) -> None:
        """Before each poll: whether the partitions that were newly given are as long as the store remembers them.

        One that is shorter belongs to a topic that was deleted and made anew. Its records would be taken for ones that
        are stored, so that the topic is not read until the store has another position. That it grows meanwhile says
        nothing. Raises KafkaError when the broker does not say.
        """
        if self._unchecked:
            self._look_at_new()
        if self._shorter and self._monotonic() >= self._next_look_s:
            self._next_look_s = self._monotonic() + _LOOK_EVERY_S
            self._let_go()

    def held(self) -> Mapping[str, str]:
        """The partitions of topics that were made anew, each with what people are to do."""
        told = {partition.topic: _told(partition, found) for partition, found in self._shorter.items()}
        return {partition_name(each.topic, each.partition): told[each.topic] for each in self._of(told)}

    def _look_at_new(self) -> None:
        unchecked = sorted(self._unchecked & set(self._consumer.assignment()))
        for topic_partition, end in self._consumer.end_offsets(unchecked).items():
            position = self._start(partition_name(topic_partition.topic, topic_partition.partition))
            if position is not None and position > end:
                self._shorter[topic_partition] = _Shorter(end, position)
                _log.warning("%s", _told(topic_partition, self._shorter[topic_partition]))
        self._unchecked = set()
        self._consumer.pause(*self._of({each.topic for each in self._shorter}))

    def _let_go(self) -> None:
        before = {each.topic for each in self._shorter}
        for topic_partition, found in list(self._shorter.items()):
            if self._start(partition_name(topic_partition.topic, topic_partition.partition)) != found.position:
                del self._shorter[topic_partition]
        read = self._of(before - {each.topic for each in self._shorter})
        self._consumer.resume(*read)
        self._seek(read)

    def _of(self, topics: Collection[str]) -> list[TopicPartition]:
        return sorted(each for each in self._consumer.assignment() if each.topic in topics)

    def _seek(self, given: Iterable[Any]) -> None:
        for topic_partition in given:
            offset = self._start(partition_name(topic_partition.topic, topic_partition.partition))
            if offset is None:
                self._consumer.seek_to_beginning(topic_partition)
            else:
                self._consumer.seek(topic_partition, offset)

    def go_back(self, partition: str) -> bool:
        """Read a partition again from where the store says; whoever has it now does that by itself."""
        topic_partition = TopicPartition(*_topic_and_number(partition))
        if topic_partition in self._consumer.assignment():
            self._seek([topic_partition])
        return True


def tell_broker(consumer: KafkaConsumer, partition: str, next_offset: int) -> None:
    """Say how far the store got, without waiting, where the partition is still ours."""
    topic_partition = TopicPartition(*_topic_and_number(partition))
    if topic_partition in consumer.assignment():
        consumer.commit_async({topic_partition: OffsetAndMetadata(next_offset, "", -1)})


def _told(topic_partition: TopicPartition, found: _Shorter) -> str:
    topic, number = topic_partition
    prefix = partition_name(topic, "")
    command = f"DELETE FROM positions WHERE substr(partition, 1, {len(prefix)}) = '{prefix}'"  # noqa: S608 - to be read
    return (
        f"topic '{topic}' was made anew and is not read: '{partition_name(topic, number)}' ended at {found.end}, and "
        f"the store has read it up to {found.position}. To read it from its beginning, stop the collectors, run "
        f'"{command}" in the store, and start them again'
    )


def partition_name(topic: str, number: int | str) -> str:
    """What a partition is called in the store.

    >>> partition_name("driftline.inference", 2)
    'kafka:driftline.inference:2'
    """
    return f"{_PREFIX}:{topic}:{number}"


def topic_of(partition: str) -> str:
    """The topic of a partition.

    >>> topic_of("kafka:driftline.inference:2")
    'driftline.inference'
    """
    return _topic_and_number(partition)[0]


def _topic_and_number(partition: str) -> tuple[str, int]:
    _, topic, number = partition.split(":")
    return topic, int(number)
