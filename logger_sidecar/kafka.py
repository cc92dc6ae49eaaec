"""The only module that knows kafka-python: events to a topic, each acknowledged or named as refused."""

import importlib.util
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from driftline.errors import UnavailableError
from driftline.events import KafkaMessage
from logger_sidecar.settings import ShipperSettings

REASON_TOO_LARGE = "too_large"
REASON_REFUSED = "refused"
# What the same message will meet again; all else may pass later.
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_REFUSED = (kafka_errors.InvalidMessageError, kafka_errors.CorruptRecordError)


class KafkaSink:
    """A producer in order and without duplicates of its own; connects at the first delivery."""

    name = "kafka"

    def __init__(self, settings: ShipperSettings) -> None:
        self._settings = settings
        self._producer: KafkaProducer | None = None

    def deliver(self, messages: Sequence[KafkaMessage]) -> dict[int, str]:
        """Send all, wait until each is acknowledged; returns, by index, the reason for each that never can be.

        Raises UnavailableError when the broker did not take them all; then all must be sent again.
        """
        try:
            return self._deliver(self._connected(), messages)
        except kafka_errors.KafkaError as error:
            self.close()
            detail = f"{','.join(self._settings.bootstrap_servers)}: {type(error).__name__}: {error}"
            raise UnavailableError("kafka", detail) from error

    def close(self) -> None:
        """Give the connection up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0.5)

    def _deliver(self, producer: KafkaProducer, messages: Sequence[KafkaMessage]) -> dict[int, str]:
        refused: dict[int, str] = {}
        sent: list[tuple[int, Any]] = []
        topic = self._settings.topic
        for index, message in enumerate(messages):
            try:
                future = producer.send(topic, value=message.value, key=message.key, headers=message.headers)
            except _TOO_LARGE:
                refused[index] = REASON_TOO_LARGE
            else:
                sent.append((index, future))
        deadline = time.monotonic() + self._settings.request_timeout_s * 2
        for index, future in sent:
            try:
                future.get(timeout=max(0.01, deadline - time.monotonic()))
            except _TOO_LARGE:
                refused[index] = REASON_TOO_LARGE
            except _REFUSED:
                refused[index] = REASON_REFUSED
        return refused

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
        "sasl_plain_password": settings.sasl_password,
        "ssl_cafile": settings.ssl_cafile,
    }
    return configuration | {key: value for key, value in optional.items() if value}


def _compression(wanted: str) -> str | None:
    if wanted == "auto":
        return "lz4" if importlib.util.find_spec("lz4") is not None else "gzip"
    return None if wanted == "none" else wanted
