"""Finding the messages that a broker refuses, among those that it refuses with them.

A refused batch puts an idempotent producer out of order: it fails everything else on its way with the same error. So
what failed is sent again in halves, each with a new producer, until a refused one stands alone.
"""

from collections.abc import Callable, Mapping, Sequence

from driftline.events import InferenceMessage, KafkaMessage
from logger_sidecar.shipping.sinks import REASON_REFUSED, REASON_TOO_LARGE

#: Handed to a producer at once, besides the last event: it is held three times over, and fresh pages cost a fault each.
DELIVERY_BYTES = 4 * 1024 * 1024
#: Refused by the producer itself, before it was sent: nothing else is touched by it.
TOO_LARGE_HERE = "too_large_here"

Numbered = Sequence[tuple[int, InferenceMessage | KafkaMessage]]
#: Sends all and waits: a reason for each message that was refused, an empty text for each that failed with another.
#: Raises when one failed for a reason that may pass, and none for one that will not.
Send = Callable[[Numbered], Mapping[int, str]]


def deliver_numbered(messages: Numbered, send: Send, renew: Callable[[], None]) -> dict[int, str]:
    """Deliver all but those refused for good; returns their reasons. ``renew``: go on with a new producer."""
    failed = send(messages)
    refused = {index: reason for index, reason in failed.items() if reason}
    if not refused:
        return {}
    if any(reason != TOO_LARGE_HERE for reason in refused.values()):
        renew()
    done = {index: REASON_TOO_LARGE for index, reason in refused.items() if reason == TOO_LARGE_HERE}
    suspects = [(index, message) for index, message in messages if index in failed and index not in done]
    if len(suspects) == 1:
        [(index, _)] = suspects
        return done | {index: failed[index] or REASON_REFUSED}
    half = len(suspects) // 2
    for part in (suspects[:half], suspects[half:]):
        if part:
            done |= deliver_numbered(part, send, renew)
    return done
