"""How much is still to be read of Kafka's partitions: of ours, and of those that others of the group have.

A client learns where partitions end from what it fetches, and of a broker that is away nothing at all: it goes on
saying what it last knew, which looks like having read everything. So the broker is asked.
"""

from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from collector.sources.kafka_positions import Start, partition_name
from driftline.errors import UnavailableError
from driftline.records import Reach

#: How long a broker may take to say where partitions end.
_ASKED_MS = 2000


class Distances:
    """What lies between what was read of each partition and its end. For the consumer's own thread.

    ``start``: as the source's; what others have is read as far as the store says.
    """

    def __init__(self, consumer: KafkaConsumer, start: Start) -> None:
        self._consumer = consumer
        self._start = start
        #: As far as it is known that others have come; asked again only where a partition ends further out.
        self._known: dict[str, int] = {}

    def now(self) -> Mapping[str, int]:
        """Records between the next to be read and the end, of what is read here; raises UnavailableError."""
        consumer = self._consumer
        given = consumer.assignment() - consumer.paused()
        return {_name(each): max(0, end - consumer.position(each)) for each, end in self._ends(given).items()}

    def elsewhere(self) -> Mapping[str, Reach]:
        """How far the store is with the partitions of our topics that are not ours; raises UnavailableError."""
        consumer = self._consumer
        ours = consumer.assignment()
        try:
            partitions = [
                TopicPartition(topic, number)
                for topic in sorted(consumer.subscription() or ())
                for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error
        ends = self._ends([each for each in partitions if each not in ours])
        self._known = {name: at for each in ends if (at := self._known.get(name := _name(each))) is not None}
        return {_name(each): Reach(self._position(each, end), end) for each, end in ends.items()}

    def _position(self, partition: TopicPartition, end: int) -> int:
        name = _name(partition)
        if self._known.get(name, -1) < end:
            stored = self._start(name)
            self._known[name] = self._begin(partition) if stored is None else stored
        return self._known[name]

    def _begin(self, partition: TopicPartition) -> int:
        """Where a partition begins of which nothing was stored yet: what its retention took is not waited for."""
        try:
            return int(self._consumer.beginning_offsets([partition], timeout_ms=_ASKED_MS)[partition])
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error

    def _ends(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        asked = sorted(partitions)
        if not asked:
            return {}
        try:
            ends: Mapping[TopicPartition, int] = self._consumer.end_offsets(asked, timeout_ms=_ASKED_MS)
        except KafkaError as error:
            raise UnavailableError("kafka", f"where partitions end is not said: {error}") from error
        return ends


def _name(partition: TopicPartition) -> str:
    return partition_name(partition.topic, partition.partition)
