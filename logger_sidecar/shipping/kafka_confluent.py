"""The only module that knows confluent-kafka: what kafka-python sends, to the same partitions, for less work."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, KafkaMessage, encode_inference
from logger_sidecar.shipping.kafka_batches import TOO_LARGE_HERE, Numbered, deliver_numbered
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
    """A producer in order and without duplicates of its own; connects at the first delivery."""

    def __init__(self, settings: ShipperSettings, name: str = "kafka") -> None:
        self.name = name
        self.bounds = BatchBounds(max_events=settings.batch_records)
        self._settings = settings
        self._producer: Producer | None = None

    def deliver(self, events: Sequence[InferenceEvent]) -> dict[int, str]:
        """Part of sinks.Sink: send all, and wait until each is acknowledged."""
        return self.send([encode_inference(event) for event in events])

    def send(self, messages: Sequence[KafkaMessage]) -> dict[int, str]:
        """Send all, wait until each is acknowledged; returns, by index, the reason for each that never can be.

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
        producer, failed = self._connected(), dict[int, str]()
        passing: list[KafkaError] = []
        deadline_s = time.monotonic() + self._settings.request_timeout_s * 2
        unsettled = {index for index, _ in messages}
        for index, message in messages:
            try:
                _produce(producer, self._settings.topic, message, _noted(index, unsettled, failed, passing), deadline_s)
            except KafkaException as error:
                if error.args[0].code() not in _TOO_LARGE:
                    raise
                unsettled.discard(index)
                failed[index] = TOO_LARGE_HERE
        if producer.flush(max(0.01, deadline_s - time.monotonic())) or unsettled:
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001 - its public name
        if passing and all(reason in ("", TOO_LARGE_HERE) for reason in failed.values()):
            raise KafkaException(passing[0])
        return failed

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(_configuration(self._settings))
        return self._producer


Noted = Callable[[KafkaError | None, Message], None]


def _produce(producer: Producer, topic: str, message: KafkaMessage, noted: Noted, deadline_s: float) -> None:
    headers: list[tuple[str, str | bytes | None]] = [*message.headers]
    while True:
        try:
            producer.produce(topic, message.value, message.key, headers=headers, on_delivery=noted)
        except BufferError:  # as much is under way as the producer holds
            if time.monotonic() > deadline_s:
                raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001 - its public name
            producer.poll(_FULL_WAIT_S)
        else:
            return


def _noted(index: int, unsettled: set[int], failed: dict[int, str], passing: list[KafkaError]) -> Noted:
    def noted(error: KafkaError | None, _message: Message) -> None:
        unsettled.discard(index)
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
        "enable.idempotence": settings.acks == "all",
        "compression.type": "zstd" if settings.compression == "auto" else settings.compression,
        "linger.ms": settings.linger_ms,
        "batch.size": settings.batch_bytes,
        "message.max.bytes": settings.max_request_bytes,
        "request.timeout.ms": timeout_ms,
        "delivery.timeout.ms": timeout_ms * 2 + settings.linger_ms,
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


def _ignore(_error: KafkaError) -> None:
    """What goes wrong is told by the message that failed."""
