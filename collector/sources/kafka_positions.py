"""Where reading of Kafka's partitions goes on: the store says it, not the broker.

Offsets are committed to Kafka too, but only so that people can watch the group's lag. Partitions are named
``kafka:TOPIC:NUMBER``. When the group is shared out anew, the client throws away what it had fetched of lost
partitions, and every partition it gets is read from its committed position.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from driftline.errors import UnavailableError

_PREFIX = "kafka"
#: How long a broker may take to say where partitions end, while the store is away.
_ASKED_MS = 2000

#: Where reading of a partition goes on; None: from its beginning.
Start = Callable[[str], int | None]


class SeekToStore(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts every newly given partition where the store says."""

    def __init__(self, consumer: KafkaConsumer, start: Start) -> None:
        self._consumer = consumer
        self._start = start
        self._unchecked: set[TopicPartition] = set()
        self._shorter: set[TopicPartition] = set()

    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Nothing is lost: what was not committed to the store is read again by the next owner."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        """Seek; a partition the store does not know starts at its beginning."""
        self._unchecked, self._shorter = set(assigned), set()
        self._seek(assigned)

    def check(self) -> None:
        """Before each poll: whether the partitions that were newly given are as long as the store remembers them.

        One that is shorter belongs to a topic that was deleted and made anew. Its records would be taken for ones that
        are stored. Raises UnavailableError until it is not, and KafkaError when the broker does not say.
        """
        if not self._unchecked:
            return
        unchecked = sorted(self._unchecked & set(self._consumer.assignment()))
        told = []
        for topic_partition, end in self._consumer.end_offsets(unchecked).items():
            name = partition_name(topic_partition.topic, topic_partition.partition)
            position = self._start(name)
            if position is not None and position > end:
                self._shorter.add(topic_partition)
                told.append(
                    f"'{name}' ends at {end}, and the store has read it up to {position}: its topic was made anew. To "
                    f"read it from its beginning, stop the collectors, remove from table 'positions' what begins with "
                    f"'{_PREFIX}:{topic_partition.topic}:', and start them again"
                )
        if told:
            raise UnavailableError("kafka", told[0])
        found = self._shorter & set(unchecked)
        self._unchecked, self._shorter = set(), set()
        self._seek(found)  # what was fetched of them meanwhile is behind where they begin now

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


class Distances:
    """How many records of each partition are still to be read.

    A client learns where partitions end from what it fetches. While nothing is polled, because a batch waits for the
    store, the broker is asked instead: what waits there grows unseen otherwise.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._polled = True

    def polled(self) -> None:
        """Something was fetched, or tried to be."""
        self._polled = True

    def now(self) -> Mapping[str, int]:
        """Records between the next to be read and the end, by partition; as of the last fetch where nobody says."""
        consumer = self._consumer
        given = consumer.assignment()
        ends = {} if self._polled else self._ask(given)
        self._polled = False
        lags = {}
        for topic_partition in given:
            end = ends.get(topic_partition, consumer.highwater(topic_partition))
            if end is not None:
                name = partition_name(topic_partition.topic, topic_partition.partition)
                lags[name] = max(0, end - consumer.position(topic_partition))
        return lags

    def _ask(self, given: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        try:
            ends: Mapping[TopicPartition, int] = self._consumer.end_offsets(sorted(given), timeout_ms=_ASKED_MS)
        except KafkaError:  # the broker is away, too
            return {}
        return ends


def tell_broker(consumer: KafkaConsumer, partition: str, next_offset: int) -> None:
    """Say how far the store got, without waiting, where the partition is still ours."""
    topic_partition = TopicPartition(*_topic_and_number(partition))
    if topic_partition in consumer.assignment():
        consumer.commit_async({topic_partition: OffsetAndMetadata(next_offset, "", -1)})


def partition_name(topic: str, number: int) -> str:
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
