"""What is remembered of sequential tests between two looks: where each stood, by stream, segment and restart."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from driftline.results import StreamKey, WindowKey

#: A stream, a segment, and since when the test runs.
Place = tuple[StreamKey, str, float]
Memo = TypeVar("Memo")
_LIMIT = 256


def restarted_s(time_s: float, restart_s: float) -> float:
    """When what starts anew every ``restart_s`` seconds did so last.

    >>> restarted_s(250.0, 100.0)
    200.0
    """
    return time_s // restart_s * restart_s


def place_of(key: WindowKey, restart_s: float) -> Place:
    """The test that a window belongs to."""
    return key.stream, key.segment, restarted_s(key.start_s, restart_s)


class Remembered(Generic[Memo]):
    """Memos of the streams and segments that were kept last; others are made anew when a window closes.

    >>> from driftline.results import StreamKey
    >>> memos = Remembered[str](limit=1)
    >>> one, two = ((StreamKey("default", "flights", "1", "stable"), "", began_s) for began_s in (0.0, 100.0))
    >>> memos.keep({one: "first", two: "second"})
    >>> memos.take(one), memos.take(two), memos.take(two)
    (None, 'second', None)
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._memos: dict[Place, Memo] = {}

    def __bool__(self) -> bool:
        return bool(self._memos)

    def take(self, place: Place) -> Memo | None:
        """A memo, which is given back by :meth:`keep`: what is not in the store then must not be relied on."""
        return self._memos.pop(place, None)

    def keep(self, memos: Mapping[Place, Memo]) -> None:
        """What these stand for is in the store now."""
        for place, memo in memos.items():
            self._memos.pop(place, None)
            self._memos[place] = memo
        for oldest in list(self._memos)[: max(0, len(self._memos) - self._limit)]:
            del self._memos[oldest]
