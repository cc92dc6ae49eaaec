"""Ids of events: UUIDs of version 7, made many at a time.

>>> ids = EventIds(lambda bits: 0)
>>> ids.new(1_645_557_742_000_000_000), ids.new(1_645_557_742_000_400_000)
('017f22e2-79b0-7000-8000-000000000000', '017f22e2-79b0-7000-8000-000000000001')
"""

from collections.abc import Callable

from driftline import names
from driftline.events import new_event_id

MILLISECOND_NS = 1_000_000
#: How long a draw lasts, in milliseconds; in them the first eight digits of an id stay the same.
_DRAW_MS = 1024
#: Before any draw.
_NEVER = -(1 << 62)
#: An id is its first 33 digits and dashes, and the last three digits, which are looked up and not formatted.
_STEM = 33
_LAST_DIGITS = tuple(f"{number:03x}" for number in range(1 << 12))
#: The same for the end of a head that names a request by it: the header line and the blank line.
_END_START = f"{names.HEADER_REQUEST_ID}: ".encode()
_LAST_OF_END = tuple(f"{digits}\r\n\r\n".encode() for digits in _LAST_DIGITS)
_ENDS = len(_LAST_DIGITS)
_TWO_DIGITS = tuple(f"{number:02x}" for number in range(1 << 8))
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
        "_drawn_since",
        "_end_stem",
        "_ends",
        "_first",
        "_getrandbits",
        "_high",
        "_low",
        "_middle",
        "_millisecond",
        "_since_ns",
        "_stem",
        "_until_ns",
    )

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._getrandbits = getrandbits
        # The milliseconds since 1970 of the draw and of the newest id.
        self._drawn_since: int = _NEVER
        self._millisecond: int = _NEVER
        # The nanoseconds of that millisecond.
        self._since_ns = self._until_ns = 0
        # As numbers of C in the compiled build, to be compared with each other.
        self._ends: int = _ENDS
        #: Of the stem: what stands before the last four digits of the time, and what stands behind them.
        self._first = self._middle = self._stem = ""
        self._end_stem = b""
        self._high = 0
        self._low = 0

    def new(self, time_ns: int) -> str:
        """The next id; ``time_ns`` since 1970."""
        low: int
        low = self._low + 1
        if self._since_ns <= time_ns < self._until_ns and low < self._ends:  # as ``new_in``, without a quotient
            self._low = low
            return self._stem + _LAST_DIGITS[low]
        return self.new_in(time_ns // MILLISECOND_NS)

    def new_with_end(self, time_ns: int) -> tuple[str, bytes]:
        """As ``new``, and the end of a head that says it to the model server or the caller."""
        low: int
        low = self._low + 1
        if self._since_ns <= time_ns < self._until_ns and low < self._ends:
            self._low = low
            return self._stem + _LAST_DIGITS[low], self._end_stem + _LAST_OF_END[low]
        return self.new_in(time_ns // MILLISECOND_NS), self._end_stem + _LAST_OF_END[self._low]

    def new_in(self, millisecond: int) -> str:
        """The next id, of this millisecond since 1970."""
        low: int
        low = self._low + 1
        if millisecond == self._millisecond and low < self._ends:
            self._low = low
            return self._stem + _LAST_DIGITS[low]
        return self._anew(millisecond)

    def _anew(self, millisecond: int) -> str:
        self._millisecond = millisecond
        self._since_ns = millisecond * MILLISECOND_NS
        self._until_ns = self._since_ns + MILLISECOND_NS
        self._low += 1
        if self._low == self._ends:
            self._low = 0
            self._high += 1
            self._middle = f"{self._middle[:11]}{self._high:09x}"
        if not 0 <= millisecond - self._drawn_since < _DRAW_MS or self._high == _HIGH_LIMIT:
            return self._draw(millisecond)
        stem = self._first + _TWO_DIGITS[millisecond >> 8 & 0xFF] + _TWO_DIGITS[millisecond & 0xFF] + self._middle
        self._begin_with(stem)
        return stem + _LAST_DIGITS[self._low]

    def _draw(self, millisecond: int) -> str:
        self._drawn_since = millisecond - millisecond % _DRAW_MS
        drawn = new_event_id(millisecond * MILLISECOND_NS, self._getrandbits)
        self._first, self._middle = drawn[:9], drawn[13:_STEM]
        self._begin_with(drawn[:_STEM])
        self._high, self._low = int(drawn[24:_STEM], 16), int(drawn[_STEM:], 16)
        return drawn

    def _begin_with(self, stem: str) -> None:
        self._stem = stem
        self._end_stem = _END_START + stem.encode()
