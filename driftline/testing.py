"""Fakes that ship with the product: a clock moved by hand, a source over a list with crash marks.

They pass the same checks as the real adapters (``tests/contracts``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from driftline.records import Reach, Record


@dataclass
class ManualClock:
    """A clock that moves only when told.

    >>> clock = ManualClock(10.0)
    >>> clock.advance(5.0); clock()
    15.0
    """

    now_s: float = 0.0

    def __call__(self) -> float:
        """The time it was moved to."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self.now_s += seconds


class Crash:
    """A mark in a ``ListSource``: reading it raises, as a process that dies there would stop."""


class OneWay:
    """What a source has beside its ``poll`` where nobody asks it to go back, or what is left."""

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Nobody asks how far it was read."""

    def go_back(self, partition: str) -> bool:
        """Nothing is read twice."""
        return False

    def held(self) -> Mapping[str, str]:
        """Nothing waits."""
        return {}

    def lag(self) -> Mapping[str, int]:
        """Nobody asks what is left."""
        return {}

    def elsewhere(self) -> Mapping[str, Reach]:
        """None: nobody shares it."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class ListSource:
    """A record source over a list, starting where ``start`` says, as the real ones do."""

    items: Sequence[Record | Crash]
    start: Callable[[str], int | None] = lambda _partition: None
    acknowledged: dict[str, int] = field(default_factory=dict)
    _next: int = 0
    _again: list[Record] = field(default_factory=list)

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises RuntimeError once at each crash mark."""
        batch, self._again = self._again[:max_records], self._again[max_records:]
        while self._next < len(self.items) and len(batch) < max_records:
            item = self.items[self._next]
            if isinstance(item, Crash):
                if batch:
                    break
                self._next += 1
                raise RuntimeError("crash mark")
            self._next += 1
            if item.offset >= (self.start(item.partition) or 0):
                batch.append(item)
        return batch

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Remember how far the reader got."""
        self.acknowledged[partition] = next_offset

    def go_back(self, partition: str) -> bool:
        """Give what was read of the partition again, from where ``start`` says."""
        begin = self.start(partition) or 0
        read = [item for item in self.items[: self._next] if isinstance(item, Record)]
        others = [item for item in self._again if item.partition != partition]
        self._again = others + [item for item in read if item.partition == partition and item.offset >= begin]
        return True

    def held(self) -> Mapping[str, str]:
        """None: a list needs nobody."""
        return {}

    def lag(self) -> Mapping[str, int]:
        """Records that are left, by partition."""
        left = {item.partition: 0 for item in self.items if isinstance(item, Record)}
        for item in [*self._again, *self.items[self._next :]]:
            if isinstance(item, Record):
                left[item.partition] = left.get(item.partition, 0) + 1
        return left

    def elsewhere(self) -> Mapping[str, Reach]:
        """None: nobody shares it."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""
