"""Topics of others, and our inbox among them: read by pattern, and the inbox written.

Beside ``kafka``, which reads two topics of ours as fast as it can. Offsets are committed to the broker
for the inbox alone: topics of others are read and nothing is written to them, not even a position.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from collector.settings import SESSION_S
from collector.sources.cloud_event import CloudEvent
from collector.sources.inbox import UNAVAILABLE
from collector.sources.interpreting import Interpreter
from collector.sources.kafka_distances import Distances
from collector.sources.kafka_messages import Message, TopicKind, inbox_message, read_message
from collector.sources.kafka_polling import membership, poll
from collector.sources.kafka_positions import SeekToStore, Start, partition_name, tell_broker, topic_of
from driftline.errors import UnavailableError
from driftline.records import Reach, Record

_APPEND_TIMEOUT_S = 10.0
#: A broker that was away is tried again so soon: Kafka's client waits for up to half a minute, and senders with it.
_RECONNECT_MS = 1_000
_SHORTEST_POLL_S = 0.03
#: Between two polls by a caller that does not wait, while nothing comes.
_IDLE_S = 0.2


@dataclass(frozen=True, slots=True)
class TopicsSettings:
    """Where topics of others are: brokers, the group that reads them, what they are called and of which kind they are.

    ``topics``: names, in which ``*`` stands for anything, each with its kind. ``inbox``: our own, empty for none.
    ``look_every_s``: how soon a topic that is new, and of such a name, is found. ``session_s``: after so long without a
    sign of life a member of the group is gone.
    """

    bootstrap: tuple[str, ...]
    group: str
    topics: Mapping[str, TopicKind]
    inbox: str = ""
    look_every_s: float = 10.0
    session_s: float = SESSION_S

    def pattern(self) -> str:
        """A regular expression of all names."""
        spelt = [_spelt(name) for name in (*self.topics, self.inbox) if name]
        return f"^({'|'.join(spelt)})$"

    def kind(self, topic: str) -> TopicKind:
        """Of which kind a topic is: what the first name that fits says."""
        for name, kind in self.topics.items():
            if re.fullmatch(_spelt(name), topic):
                return kind
        return "any"


class TopicsSource:
    """A ``RecordSource`` of the topics of others and our inbox. Not to be shared between threads."""

    def __init__(self, settings: TopicsSettings, start: Start, interpreter: Interpreter) -> None:
        self._settings = settings
        self._interpreter = interpreter
        self._next_poll = 0.0
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=list(settings.bootstrap),
                group_id=settings.group,
                client_id="driftline-collector-topics",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=5000,
                fetch_max_wait_ms=200,
                **membership(settings.session_s),
                metadata_max_age_ms=round(settings.look_every_s * 1000),
            )
            self._seek = SeekToStore(self._consumer, start)
            self._distances = Distances(self._consumer, start)
            self._consumer.subscribe(pattern=settings.pattern(), listener=self._seek)
        except KafkaError as error:
            raise UnavailableError("kafka", f"{', '.join(settings.bootstrap)}: {error}") from error

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises UnavailableError when the broker is away."""
        # The client joins its group and fetches only while it waits, so a caller that never waits makes no progress.
        if timeout_s < _SHORTEST_POLL_S:
            if time.monotonic() < self._next_poll:
                return []
            timeout_s = _SHORTEST_POLL_S
        try:
            self._seek.check()
            found = poll(self._consumer, timeout_s, max_records)
        except KafkaError as error:
            raise UnavailableError("kafka", str(error)) from error
        self._next_poll = time.monotonic() + (0.0 if found else _IDLE_S)
        return [self._record(message) for messages in found.values() for message in messages]

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Tell the broker how far the store got with the inbox, so that people can watch the group's lag."""
        if topic_of(partition) == self._settings.inbox:
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

    def _record(self, found: Any) -> Record:
        message = Message(
            found.topic, found.headers or (), found.key or b"", found.value or b"", max(0, found.timestamp) * 1_000_000
        )
        content = read_message(message, self._interpreter, self._settings.kind(found.topic))
        partition = partition_name(found.topic, found.partition)
        return Record(partition, found.offset, found.offset + 1, content)


class KafkaInbox:
    """An ``Inbox`` in a topic; an event is kept once every replica that must has it.

    ``timeout_s``: how long a broker may take for that; who sends waits as long.
    """

    def __init__(
        self, bootstrap: Sequence[str], topic: str, maximum_bytes: int, timeout_s: float = _APPEND_TIMEOUT_S
    ) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        try:
            self._producer = KafkaProducer(
                bootstrap_servers=list(bootstrap),
                client_id="driftline-collector-inbox",
                acks="all",
                linger_ms=0,
                max_request_size=maximum_bytes + 1024 * 1024,
                max_block_ms=round(timeout_s * 500),
                delivery_timeout_ms=round(timeout_s * 1000),
                request_timeout_ms=round(timeout_s * 800),
                reconnect_backoff_max_ms=_RECONNECT_MS,
            )
        except KafkaError as error:
            raise UnavailableError("kafka", f"{', '.join(bootstrap)}: {error}") from error

    def append(self, events: Sequence[CloudEvent]) -> Mapping[int, str]:
        """As ``Inbox.append``."""
        sent: list[Any] = []
        for event in events:
            headers, key = inbox_message(event)
            try:
                sent.append(self._producer.send(self._topic, value=event.body, key=key, headers=headers))
            except KafkaError:
                sent.append(None)
        until = time.monotonic() + self._timeout_s
        return {place: UNAVAILABLE for place, future in enumerate(sent) if not _is_kept(future, until)}

    def close(self) -> None:
        """As ``Inbox.close``."""
        self._producer.close(timeout=self._timeout_s)


def _is_kept(future: Any, until: float) -> bool:
    if future is None:
        return False
    try:
        future.get(timeout=max(0.0, until - time.monotonic()))
    except KafkaError:
        return False
    return True


def _spelt(name: str) -> str:
    return ".*".join(re.escape(part) for part in name.split("*"))
