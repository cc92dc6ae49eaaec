"""The only module that knows kafka-python: events to a topic, each acknowledged or named as refused."""

import importlib.util
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from driftline.errors import UnavailableError
from driftline.events import InferenceMessage, KafkaMessage
from driftline.frame_messages import FrameMessages
from logger_sidecar.shipping.kafka_batches import DELIVERY_BYTES, TOO_LARGE_HERE, Numbered, deliver_numbered
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import REASON_REFUSED, REASON_TOO_LARGE, BatchBounds, password_of

_LIBRARIES = (("zstd", "zstandard"), ("lz4", "lz4"))
# What the same message will meet again; all else may pass later.
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_REFUSED = (kafka_errors.InvalidRecordError, kafka_errors.InvalidTimestampError)


def open_sink(url: SinkUrl, settings: ShipperSettings) -> "KafkaSink":
    """Part of sinks: the sink of this URL."""
    return KafkaSink(settings, url.name)


class KafkaSink:
    """A producer in order and without duplicates of its own; connects at the first delivery."""

    def __init__(self, settings: ShipperSettings, name: str = "kafka") -> None:
        self.name = name
        self.bounds = BatchBounds(settings.batch_records, DELIVERY_BYTES, settings.gather_ms / 1000)
        self._settings = settings
        self._messages = FrameMessages()
        self._producer: KafkaProducer | None = None

    def read(self, frame: bytes) -> InferenceMessage:
        """Part of sinks.Sink."""
        return self._messages.message(frame)

    def deliver(self, messages: Sequence[InferenceMessage | KafkaMessage]) -> dict[int, str]:
        """Part of sinks.Sink: send all, wait until each is acknowledged.

        Raises UnavailableError when the broker did not take them all; then all must be sent again.
        """
        try:
            return deliver_numbered(list(enumerate(messages)), self._send, self.close)
        except kafka_errors.KafkaError as error:
            self.close()
            detail = f"{','.join(self._settings.bootstrap_servers)}: {type(error).__name__}: {error}"
            raise UnavailableError("kafka", detail) from error

    def close(self) -> None:
        """Give the connection up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0.5)

    def _send(self, messages: Numbered) -> dict[int, str]:
        """The reason for each message that failed; empty where another message was the reason.

        Raises KafkaError when one failed for a reason that may pass, and none for one that will not.
        """
        producer, failed, sent = self._connected(), dict[int, str](), list[tuple[int, Any]]()
        for index, message in messages:
            try:
                future = producer.send(
                    self._settings.topic, value=message.value, key=message.key, headers=message.headers
                )
            except _TOO_LARGE:
                failed[index] = TOO_LARGE_HERE
            else:
                sent.append((index, future))
        deadline = time.monotonic() + self._settings.request_timeout_s * 2
        passing: kafka_errors.KafkaError | None = None
        for index, future in sent:
            try:
                future.get(timeout=max(0.01, deadline - time.monotonic()))
            except _TOO_LARGE:
                failed[index] = REASON_TOO_LARGE
            except _REFUSED:
                failed[index] = REASON_REFUSED
            except kafka_errors.KafkaError as error:
                failed[index], passing = "", error
        if passing is not None and all(reason in ("", TOO_LARGE_HERE) for reason in failed.values()):
            raise passing
        return failed

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = KafkaProducer(**_configuration(self._settings))
        return self._producer


def _configuration(settings: ShipperSettings) -> dict[str, Any]:
    timeout_ms = int(settings.request_timeout_s * 1000)
    configuration: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": settings.client_id,
        "acks": "all" if settings.acks == "all" else 1,
        "enable_idempotence": settings.acks == "all",
        "compression_type": _compression(settings.compression),
        "linger_ms": settings.linger_ms,
        "batch_size": settings.batch_bytes,
        "max_request_size": settings.max_request_bytes,
        "max_block_ms": timeout_ms,
        "request_timeout_ms": timeout_ms,
        "bootstrap_timeout_ms": timeout_ms,
        "delivery_timeout_ms": timeout_ms * 2 + settings.linger_ms,
        "security_protocol": settings.security_protocol,
        "metrics_enabled": False,
    }
    optional = {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": password_of(settings),
        "ssl_cafile": settings.ssl_cafile,
        "ssl_certfile": settings.ssl_certfile,
        "ssl_keyfile": settings.ssl_keyfile,
        "ssl_password": settings.ssl_password,
    }
    return configuration | {key: value for key, value in optional.items() if value}


def _compression(wanted: str) -> str | None:
    if wanted == "auto":
        # By its figures (docs/decisions/0005): the fewest bytes for the work, where its library is installed.
        found = (word for word, library in _LIBRARIES if importlib.util.find_spec(library) is not None)
        return next(found, "gzip")
    return None if wanted == "none" else wanted
