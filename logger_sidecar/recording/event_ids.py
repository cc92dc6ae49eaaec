"""Ids of events: UUIDs of version 7, made many at a time.

>>> ids = EventIds(lambda bits: 0)
>>> ids.new(1_645_557_742_000_000_000), ids.new(1_645_557_742_000_400_000)
('017f22e2-79b0-7000-8000-000000000000', '017f22e2-79b0-7000-8000-000000000001')
"""

from collections.abc import Callable

from driftline.events import new_event_id

_NODE_LIMIT = (1 << 48) - 1
_MILLISECOND_NS = 1_000_000


class EventIds:
    """Makes the ids of one process.

    All ids of a millisecond share one draw of 74 random bits, and the last 48 of them count up (RFC 9562, section 6.2,
    "monotonic random"); so they sort in the order they were made, and one costs a fifth of a draw of its own.
    ``getrandbits``: as ``random.getrandbits``.
    """

    __slots__ = ("_getrandbits", "_last", "_prefix", "_since_ns", "_until_ns")

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._getrandbits = getrandbits
        self._since_ns = self._until_ns = 0
        self._prefix = ""
        self._last = 0

    def new(self, time_ns: int) -> str:
        """The next id; ``time_ns`` since 1970."""
        if self._since_ns <= time_ns < self._until_ns and self._last < _NODE_LIMIT:
            self._last += 1
            return f"{self._prefix}{self._last:012x}"
        self._since_ns = time_ns - time_ns % _MILLISECOND_NS
        self._until_ns = self._since_ns + _MILLISECOND_NS
        drawn = new_event_id(time_ns, self._getrandbits)
        self._prefix, self._last = drawn[:24], int(drawn[24:], 16)
        return drawn
