"""The streams under contract: each can be filled, and opened as the record source that reads it."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kafka import KafkaProducer

from collector.ports import RecordSource
from collector.settings import KafkaSettings
from collector.sources.kafka import KafkaSource
from driftline.events import InferenceEvent, KafkaMessage, Payload, encode_frame, encode_inference
from driftline.records import Malformed, Record
from driftline.testing import ListSource
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.spool.writer import SpoolWriter
from tests.parts.kafka import make_topics
from tests.parts.processes import wait_until

Start = Callable[[str], int | None]


class Stream(Protocol):
    """A stream that a test fills and reads."""

    def fill(self, contents: Sequence[InferenceEvent | bytes]) -> None:
        """Append events; bytes stand for something that is no event."""
        ...

    def open(self, start: Start) -> RecordSource:
        """A source that begins where ``start`` says."""
        ...


def an_event(number: int) -> InferenceEvent:
    """An event that its number tells from others."""
    body = Payload(content_type="application/json", body=b'{"n": %d}' % number)
    return InferenceEvent(
        id=f"event-{number}",
        source="/test",
        model="m",
        time_ns=number,
        request_id=f"request-{number}",
        protocol="v2",
        status_code=200,
        request=body,
        response=body,
    )


class ListStream:
    """The fake."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def fill(self, contents: Sequence[InferenceEvent | bytes]) -> None:
        """Append."""
        for content in contents:
            offset = len(self._records)
            read = Malformed("malformed", "no event", content) if isinstance(content, bytes) else content
            self._records.append(Record("list:0", offset, offset + 1, read))

    def open(self, start: Start) -> RecordSource:
        """Over the list as it is now."""
        return ListSource(list(self._records), start)


class SpoolStream:
    """The sidecar's spool, in segments so small that the tests cross them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self, contents: Sequence[InferenceEvent | bytes]) -> None:
        """Append through the sidecar's own writer."""
        writer = SpoolWriter(self._directory, max_bytes=1 << 24, segment_bytes=4096, first_offset=0)
        payloads = [content if isinstance(content, bytes) else encode_frame(content) for content in contents]
        assert writer.write(payloads) == {}
        writer.close()

    def open(self, start: Start) -> RecordSource:
        """The reader called ``test``."""
        return SpoolSource(self._directory, "test", start)


class KafkaStream:
    """Topics and a group of its own on the shared broker."""

    def __init__(self, bootstrap: str) -> None:
        unique = uuid.uuid4().hex
        topics = {"topic_inference": f"inference-{unique}", "topic_labels": f"labels-{unique}"}
        self._settings = KafkaSettings((bootstrap,), f"group-{unique}", **topics)
        # Both at once and beforehand: a topic that is seen late has the group shared out anew, and all read again.
        make_topics(bootstrap, dict.fromkeys(topics.values(), 1))

    def fill(self, contents: Sequence[InferenceEvent | bytes]) -> None:
        """Append through a producer."""
        producer = KafkaProducer(bootstrap_servers=list(self._settings.bootstrap), acks="all")
        messages = (
            KafkaMessage([], b"", content) if isinstance(content, bytes) else encode_inference(content)
            for content in contents
        )
        topic = self._settings.topic_inference
        sent = [producer.send(topic, message.value, message.key, message.headers) for message in messages]
        for one in sent:
            one.get(240)
        producer.close()

    def open(self, start: Start) -> RecordSource:
        """A member of the group."""
        return KafkaSource(self._settings, start)


def take(source: RecordSource, count: int, batch: int = 1000) -> list[Record]:
    """``count`` records; a group needs a few polls before it has its partitions."""
    records: list[Record] = []

    def are_taken() -> bool:
        records.extend(source.poll(min(batch, count - len(records)), 0.25))
        return len(records) >= count

    wait_until(are_taken, 240, f"{count} records", pause_s=0.0)
    return records
