"""Ids of events: UUIDs of version 7, made many at a time.

>>> ids = EventIds(lambda bits: 0)
>>> ids.new(1_645_557_742_000_000_000), ids.new(1_645_557_742_000_400_000)
('017f22e2-79b0-7000-8000-000000000000', '017f22e2-79b0-7000-8000-000000000001')
"""

from collections.abc import Callable

from driftline.events import new_event_id

_MILLISECOND_NS = 1_000_000
#: How long a draw lasts: 1,024 milliseconds, in which the first eight digits of an id stay the same.
_DRAW_NS = 1024 * _MILLISECOND_NS
#: An id is its first 33 digits and dashes, and the last three digits, which are looked up and not formatted.
_STEM = 33
_LAST_DIGITS = tuple(f"{number:03x}" for number in range(1 << 12))
_ENDS = len(_LAST_DIGITS)
#: Of the 48 bits that count up, how far those before the last three digits go.
_HIGH_LIMIT = 1 << 36


class EventIds:
    """Makes the ids of one process.

    All ids of a second or so share one draw of 74 random bits, and the last 48 of them count up (RFC 9562, section 6.2,
    "monotonic random"); so they sort in the order they were made. A draw costs as much as all else that is done for a
    request, and where few come each has a millisecond of its own: that is why a draw lasts longer than one.
    ``getrandbits``: as ``random.getrandbits``.
    """

    __slots__ = (
        "_drawn_since_ns",
        "_drawn_until_ns",
        "_first",
        "_getrandbits",
        "_high",
        "_low",
        "_middle",
        "_since_ns",
        "_stem",
        "_until_ns",
    )

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._getrandbits = getrandbits
        # The draw, and the millisecond within it: when they began and when they end.
        self._drawn_since_ns = self._drawn_until_ns = 0
        self._since_ns = self._until_ns = 0
        #: Of the stem: what stands before the last four digits of the time, and what stands behind them.
        self._first = self._middle = self._stem = ""
        self._high = 0
        self._low = 0

    def new(self, time_ns: int) -> str:
        """The next id; ``time_ns`` since 1970."""
        low: int
        low = self._low + 1
        if self._since_ns <= time_ns < self._until_ns and low < _ENDS:
            self._low = low
            return self._stem + _LAST_DIGITS[low]
        return self._anew(time_ns)

    def _anew(self, time_ns: int) -> str:
        millisecond = time_ns // _MILLISECOND_NS
        self._since_ns = millisecond * _MILLISECOND_NS
        self._until_ns = self._since_ns + _MILLISECOND_NS
        self._low += 1
        if self._low == _ENDS:
            self._low = 0
            self._high += 1
            self._middle = f"{self._middle[:11]}{self._high:09x}"
        if not self._drawn_since_ns <= time_ns < self._drawn_until_ns or self._high == _HIGH_LIMIT:
            return self._draw(time_ns)
        self._stem = f"{self._first}{millisecond & 0xFFFF:04x}{self._middle}"
        return self._stem + _LAST_DIGITS[self._low]

    def _draw(self, time_ns: int) -> str:
        self._drawn_since_ns = time_ns - time_ns % _DRAW_NS
        self._drawn_until_ns = self._drawn_since_ns + _DRAW_NS
        drawn = new_event_id(time_ns, self._getrandbits)
        self._first, self._middle, self._stem = drawn[:9], drawn[13:_STEM], drawn[:_STEM]
        self._high, self._low = int(drawn[24:_STEM], 16), int(drawn[_STEM:], 16)
        return drawn
