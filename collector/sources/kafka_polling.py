"""Asking Kafka's client for records so that it finishes joining its group, however short its caller's waits are.

kafka-python joins only while it is waited for. Where a wait ends in the middle of a join that new topics or
partitions made necessary (not another member), it forgets that it joins: it reads what it had before, sends no
heartbeats and is put out of its group, for good. And a join that ends between two waits is begun anew. Both happen
with waits of 30 ms on a busy machine. So a consumer that has to join is reminded of it, and waited for longer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer

#: How long a consumer that joins is waited for at least; alone in its group it needs a few hundredths.
JOINING_S = 0.5
_SIGNS = 5


def membership(session_s: float) -> dict[str, int]:
    """The client's settings of a member that is gone after so many seconds without a sign of life.

    Five signs fit in, and who is told by them that the group is shared anew is told that much sooner. A broker that was
    away is tried again as often as a sign is due: Kafka's client would wait for up to half a minute.

    >>> membership(15.0)
    {'session_timeout_ms': 15000, 'heartbeat_interval_ms': 3000, 'reconnect_backoff_max_ms': 3000}
    """
    sign_ms = round(session_s * 1000 / _SIGNS)
    return {
        "session_timeout_ms": round(session_s * 1000),
        "heartbeat_interval_ms": sign_ms,
        "reconnect_backoff_max_ms": sign_ms,
    }


def poll(consumer: KafkaConsumer, timeout_s: float, max_records: int) -> Mapping[Any, Sequence[Any]]:
    """Records by partition, after ``timeout_s`` at most, or ``JOINING_S`` while the group is joined."""
    joins = _joins(consumer)
    found = _poll(consumer, max(timeout_s, JOINING_S) if joins else timeout_s, max_records)
    if found or joins or not _joins(consumer):
        return found
    return _poll(consumer, JOINING_S, max_records)


def _joins(consumer: KafkaConsumer) -> bool:
    coordinator = consumer._coordinator  # noqa: SLF001 - nothing public says it
    if coordinator.rejoining:
        coordinator.request_rejoin()
    return bool(coordinator.need_rejoin())


def _poll(consumer: KafkaConsumer, timeout_s: float, max_records: int) -> Mapping[Any, Sequence[Any]]:
    found: Mapping[Any, Sequence[Any]] = consumer.poll(
        timeout_ms=max(0, round(timeout_s * 1000)), max_records=max_records
    )
    return found
