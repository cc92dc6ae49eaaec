"""Every source of a collector put together, as its settings say."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, Gauge

from collector.labels.from_seldon import read_feedback
from collector.ports import RecordSource
from collector.settings import CollectorSettings
from collector.sources.files import FilesSource, open_place
from collector.sources.inbox import ByteLog, Inbox, LogInbox, Mailroom, OpenReader, inbox_reader
from collector.sources.interpreting import Interpreter
from collector.sources.joining import Joiner
from collector.sources.kafka_messages import TopicKind
from collector.sources.kafka_topics import KafkaInbox, TopicsSettings, TopicsSource
from collector.sources.merging import MergedSource
from collector.sources.receiver import Receiver
from collector.sources.waiting_room import WaitingRoom
from collector.store.erased import ErasedBook
from collector.store.store import Store
from driftline import names
from driftline.clock import Clock
from driftline.errors import TransientError
from driftline.monitors import Monitor


@dataclass(frozen=True, slots=True)
class EmbeddedInbox:
    """The inbox where there is no Kafka: a log of bytes and the stream that reads it, both opened by the roof."""

    open_log: Callable[[], ByteLog]
    open_reader: OpenReader


@dataclass(frozen=True, slots=True)
class Sources:
    """What the collector reads, how halves are paired, and where events come in over HTTP (None: nowhere)."""

    source: RecordSource
    joiner: Joiner
    receiver: Receiver | None
    room: WaitingRoom
    closing: ExitStack


def assemble(
    settings: CollectorSettings,
    store: Store,
    monitors: Mapping[str, Monitor],
    clock: Clock,
    registry: CollectorRegistry,
    main: RecordSource | None,
    embedded: EmbeddedInbox | None,
    failed: Callable[[TransientError], None],
    erased: ErasedBook | None = None,
) -> Sources:
    """All sources that the settings name, beside ``main``; raises UnavailableError, SettingsError."""
    interpreter = Interpreter(monitors, read_feedback)
    room = WaitingRoom(
        store,
        monitors,
        clock,
        maximum_halves=settings.maximum_waiting_halves,
        maximum_bytes=settings.maximum_waiting_bytes,
    )
    _show(room, registry)
    others: list[RecordSource] = [room]
    closing = ExitStack()
    receiver = None
    if settings.receive_events and (inbox := _open_inbox(settings, store, interpreter, embedded, others)) is not None:
        closing.callback(inbox.close)
        mailroom = Mailroom(inbox, 4 * settings.maximum_event_bytes)
        receiver = Receiver(mailroom, interpreter, clock, registry, settings.maximum_event_bytes)
    topics = _topics(settings)
    if topics.topics or topics.inbox:
        others.append(TopicsSource(topics, store.position, interpreter))
    if settings.files_from:
        place = open_place(settings.files_from, settings.files_settle_s)
        others.append(FilesSource(place, store.position, interpreter))
    joiner = Joiner(store, monitors, settings.remember_halves_s, erased)
    return Sources(MergedSource(main, others, failed), joiner, receiver, room, closing)


def _open_inbox(
    settings: CollectorSettings,
    store: Store,
    interpreter: Interpreter,
    embedded: EmbeddedInbox | None,
    others: list[RecordSource],
) -> Inbox | None:
    if settings.source == "kafka":
        return KafkaInbox(settings.bootstrap, settings.kafka_topic_inbox, settings.maximum_event_bytes)
    if embedded is None:
        return None
    # The reader first: what nobody reads is not kept.
    others.append(embedded.open_reader(store.position, inbox_reader(interpreter)))
    return LogInbox(embedded.open_log())


def _topics(settings: CollectorSettings) -> TopicsSettings:
    kinds: dict[str, TopicKind] = {}
    for topic in settings.topics:
        name, _, kind = topic.partition("=")
        kinds[name] = cast("TopicKind", kind or "any")
    inbox = settings.kafka_topic_inbox if settings.source == "kafka" and settings.receive_events else ""
    return TopicsSettings(settings.bootstrap, settings.topics_group, kinds, inbox, session_s=settings.kafka_session_s)


def _show(room: WaitingRoom, registry: CollectorRegistry) -> None:
    halves, size = names.WAITING_HALVES, names.WAITING_HALVES_BYTES
    Gauge(halves.name, halves.help, registry=registry).set_function(lambda: room.room.halves)
    Gauge(size.name, size.help, registry=registry).set_function(lambda: room.room.size_bytes)
