"""The only module that knows confluent-kafka: what kafka-python sends, to the same partitions, for less work."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftline.errors import UnavailableError
from driftline.events import InferenceMessage, KafkaMessage
from driftline.frame_messages import FrameMessages
from logger_sidecar.shipping.kafka_batches import DELIVERY_BYTES, TOO_LARGE_HERE, Numbered, deliver_numbered
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import REASON_REFUSED, REASON_TOO_LARGE, BatchBounds, password_of

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_REFUSED = frozenset({KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_MSG})
_FULL_WAIT_S = 0.05


def open_sink(url: SinkUrl, settings: ShipperSettings) -> "ConfluentSink":
    """Part of sinks: the sink of this URL."""
    return ConfluentSink(settings, url.name)


class ConfluentSink:
    """A producer in order; connects at the first delivery.

    Not an idempotent one: while what it sent awaits an answer, librdkafka's idempotent producer looks at its queue
    without a pause, which costs as much as sending. One request at a time keeps the order, and what is sent once more
    after a lost answer is known by its id, as what is sent once more after a crash.
    """

    def __init__(self, settings: ShipperSettings, name: str = "kafka") -> None:
        self.name = name
        self.bounds = BatchBounds(settings.batch_records, DELIVERY_BYTES, settings.gather_ms / 1000)
        self._settings = settings
        self._messages = FrameMessages()
        self._producer: Producer | None = None
        self._reports = _Reports()

    def read(self, frame: bytes) -> InferenceMessage:
        """Part of sinks.Sink."""
        return self._messages.message(frame)

    def deliver(self, messages: Sequence[InferenceMessage | KafkaMessage]) -> dict[int, str]:
        """Part of sinks.Sink: send all, wait until each is acknowledged.

        Raises UnavailableError when the broker did not take them all; then all must be sent again.
        """
        try:
            return deliver_numbered(list(enumerate(messages)), self._send, self.close)
        except KafkaException as error:
            self.close()
            detail = f"{','.join(self._settings.bootstrap_servers)}: {_words(error)}"
            raise UnavailableError("kafka", detail) from error

    def close(self) -> None:
        """Give the connection up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0.5)

    def _send(self, messages: Numbered) -> Mapping[int, str]:
        producer, reports, topic = self._connected(), self._reports, self._settings.topic
        deadline_s = time.monotonic() + self._settings.request_timeout_s * 2
        failed, passing = reports.begin()
        for index, message in messages:
            try:
                _produce(producer, topic, message, reports.of(index), deadline_s)
            except KafkaException as error:
                if error.args[0].code() not in _TOO_LARGE:
                    raise
                failed[index] = TOO_LARGE_HERE
        if producer.flush(max(0.01, deadline_s - time.monotonic())):
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001 - its public name
        if passing and all(reason in ("", TOO_LARGE_HERE) for reason in failed.values()):
            raise KafkaException(passing[0])
        return failed

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(_configuration(self._settings))
        return self._producer


Noted = Callable[[KafkaError | None, Message], None]


class _Reports:
    """What became of the messages of one batch that were not taken, by index; those that were are not reported."""

    def __init__(self) -> None:
        self._failed = dict[int, str]()
        self._passing = list[KafkaError]()
        # Made once for each index, not for each message.
        self._noted: list[Noted] = []

    def begin(self) -> tuple[dict[int, str], list[KafkaError]]:
        """For a new batch: the reasons of what will fail, and the faults among them that may pass.

        What is still reported of the batch before, which was given up, is not told of this one.
        """
        if self._failed:
            self._failed, self._passing, self._noted = {}, [], []
        return self._failed, self._passing

    def of(self, index: int) -> Noted:
        """Is called with the fault of the message of this index."""
        while len(self._noted) <= index:
            self._noted.append(_noted(len(self._noted), self._failed, self._passing))
        return self._noted[index]


def _produce(
    producer: Producer, topic: str, message: InferenceMessage | KafkaMessage, noted: Noted, deadline_s: float
) -> None:
    headers: Any = message.headers  # pairs of text and bytes, where the library's list may hold more kinds
    while True:
        try:
            producer.produce(topic, message.value, message.key, headers=headers, on_delivery=noted)
        except BufferError:  # as much is under way as the producer holds
            if time.monotonic() > deadline_s:
                raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001 - its public name
            producer.poll(_FULL_WAIT_S)
        else:
            return


def _noted(index: int, failed: dict[int, str], passing: list[KafkaError]) -> Noted:
    def noted(error: KafkaError | None, _message: Message) -> None:
        if error is None:
            return
        code = error.code()
        failed[index] = REASON_TOO_LARGE if code in _TOO_LARGE else REASON_REFUSED if code in _REFUSED else ""
        if not failed[index]:
            passing.append(error)

    return noted


def _words(error: KafkaException) -> str:
    cause = error.args[0]
    return f"{cause.name()}: {cause.str()}" if isinstance(cause, KafkaError) else str(error)


def _configuration(settings: ShipperSettings) -> dict[str, Any]:
    timeout_ms = int(settings.request_timeout_s * 1000)
    configuration: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.bootstrap_servers),
        "client.id": settings.client_id,
        "acks": settings.acks,
        "max.in.flight": 1,
        **_compression(settings.compression),
        "linger.ms": settings.linger_ms,
        "batch.size": settings.batch_bytes,
        "message.max.bytes": settings.max_request_bytes,
        "request.timeout.ms": timeout_ms,
        "delivery.timeout.ms": timeout_ms * 2 + settings.linger_ms,
        "delivery.report.only.error": True,
        "security.protocol": settings.security_protocol,
        # As every other client that is used here, so that a label meets its inference in one partition.
        "partitioner": "murmur2_random",
        "log_level": 2,
        "error_cb": _ignore,
    }
    optional = {
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": password_of(settings),
        "ssl.ca.location": settings.ssl_cafile,
        "ssl.certificate.location": settings.ssl_certfile,
        "ssl.key.location": settings.ssl_keyfile,
        "ssl.key.password": settings.ssl_password,
    }
    return configuration | {key: value for key, value in optional.items() if value}


def _compression(wanted: str) -> dict[str, Any]:
    # By its figures (docs/decisions/0005): the fewest bytes, and at the first level for the least work, too.
    return (
        {"compression.type": "zstd", "compression.level": 1}
        if wanted in ("auto", "zstd")
        else {"compression.type": wanted}
    )


def _ignore(_error: KafkaError) -> None:
    """What goes wrong is told by the message that failed."""
