"""What the consumer is doing, told by its thread and asked by others: health, metrics.

Only the consumer writes. Every value is replaced whole, so that no reader ever sees half of one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from driftline.errors import TransientError
from driftline.records import Reach

#: ``read``: asks the source; ``commit``: decodes and stores a batch; ``sweep``: lets go of what waited too long;
#: ``wait``: pauses because a part is away.
Step = Literal["start", "read", "commit", "sweep", "wait"]
STEPS: tuple[Step, ...] = ("start", "read", "commit", "sweep", "wait")

#: A partition rests when more waits there and nothing of it was stored for so long (s); a batch takes a part of one.
RESTS_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a batch had to wait: since when (monotonic), how often it was tried, and the newest cause."""

    since_s: float
    tries: int
    cause: str


@dataclass(frozen=True, slots=True)
class _Other:
    """What another has to read: how far it is, since when it stands still with more to come, and what was left.

    ``left``: at which moment it ended where, which is not all read yet; ``read_until_s``: the last moment that is.
    """

    reach: Reach
    still_since_s: float | None
    left: tuple[float, int] | None
    read_until_s: float | None


class Resting(NamedTuple):
    """A partition of which nobody stores anything: how many records wait, and since when (monotonic)."""

    records: int
    since_s: float


class Activity:
    """The consumer's present step and progress; times are ``now``'s, which is monotonic."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._step: tuple[Step, float] = ("start", now())
        self._lag: Mapping[str, int] = {}
        self._in_hand: Mapping[str, int] = {}
        #: By partition: until when all that had come is read, and what was left to read at a later moment.
        self._read_until_s: dict[str, float] = {}
        self._left: dict[str, tuple[float, int]] = {}
        self._newest: dict[str, float] = {}
        self._others: dict[str, _Other] = {}
        self.last_turn_s = now()
        self.behind_since_s: float | None = None
        self.trouble: Trouble | None = None
        #: A source that does not say how far it goes: nobody knows whether anything waits there.
        self.away: Trouble | None = None
        self.waiting = 0
        #: Partitions that are not read until people do something, each with what.
        self.held: Mapping[str, str] = {}

    # --- told by the consumer -------------------------------------------------------------------------------------
    def begin(self, step: Step) -> None:
        """A step begins."""
        self._step = (step, self._now())

    def took(self, records: int, in_hand: Mapping[str, int]) -> None:
        """A batch was read, so much of each partition: it is behind until it is committed."""
        self.waiting = records
        self._in_hand = in_hand
        # As far as that was told before: the next telling knows it.
        self._lag = {name: max(0, distance - in_hand.get(name, 0)) for name, distance in self._lag.items()}
        for name in self._left.keys() & in_hand.keys():
            time_s, left = self._left[name]
            if left > in_hand[name]:
                self._left[name] = (time_s, left - in_hand[name])
            else:
                self._read_until_s[name] = time_s
                del self._left[name]

    def turned(self, handled: int) -> None:
        """The loop got to its end; ``handled`` records were committed."""
        self.last_turn_s = self._now()
        self.trouble = None
        self.waiting = 0
        self._in_hand = {}
        if handled:
            self.behind_since_s = None

    def failed(self, error: TransientError, waiting: int) -> None:
        """A part did not take or give; ``waiting`` records are in hand meanwhile."""
        self.trouble = self._again(self.trouble, error)
        self.waiting = waiting
        self.begin("wait")

    def unreadable(self, error: TransientError) -> None:
        """A source does not say how far it goes: what was told of it before says nothing any more."""
        self.away = self._again(self.away, error)

    def _again(self, before: Trouble | None, error: TransientError) -> Trouble:
        since_s = self._now() if before is None else before.since_s
        return Trouble(since_s, 1 if before is None else before.tries + 1, str(error))

    def lag(self, lag: Mapping[str, int]) -> None:
        """The distance to the end of each partition now read, from what was read of it."""
        self.away = None
        self._lag = dict(lag)
        now_s = self._now()
        self._left = {name: self._left.get(name, (now_s, distance)) for name, distance in lag.items() if distance}
        self._read_until_s = {name: time_s for name, time_s in self._read_until_s.items() if name in lag}
        self._read_until_s |= {name: now_s for name, distance in lag.items() if not distance}
        self._newest = {partition: time_s for partition, time_s in self._newest.items() if partition in lag}
        if not any(lag.values()):
            self.behind_since_s = None
        elif self.behind_since_s is None:
            self.behind_since_s = self._now()

    def others(self, reaches: Mapping[str, Reach]) -> None:
        """How far partitions are that others have to read."""
        now_s = self._now()
        self._others = {name: _followed(self._others.get(name), reach, now_s) for name, reach in reaches.items()}

    def committed(self, newest: Mapping[str, float]) -> None:
        """Of these partitions everything up to an event of this time (seconds since the epoch) is stored."""
        self._newest = {**self._newest, **newest}

    # --- asked by others ------------------------------------------------------------------------------------------
    def step(self) -> tuple[Step, float]:
        """The present step, and how long it has taken."""
        step, since_s = self._step
        return step, self._now() - since_s

    def elapsed_s(self, since_s: float) -> float:
        """How long ago a moment of this clock was."""
        return self._now() - since_s

    def behind_s(self) -> float | None:
        """So long ago is the last moment of which all that had come by then was read; None: not known (yet).

        Of the partitions that are this consumer's, where a batch in hand counts as read (ask between two batches), and
        of those that others have to read.
        """
        if self.away is not None or not self._lag or self._lag.keys() - self._read_until_s.keys():
            return None
        moments = [*self._read_until_s.values(), *(other.read_until_s for other in self._others.values())]
        known = [moment for moment in moments if moment is not None]
        return self._now() - min(known) if len(known) == len(moments) else None

    def is_away(self) -> bool:
        """Whether a source does not say how far it goes."""
        return self.away is not None

    def resting(self) -> Mapping[str, Resting]:
        """Partitions that others have to read and nobody does: more waits there, and nothing was stored for a while."""
        now_s = self._now()
        return {
            name: Resting(other.reach.end - other.reach.position, other.still_since_s)
            for name, other in self._others.items()
            if other.still_since_s is not None and now_s - other.still_since_s > RESTS_AFTER_S
        }

    def rests_s(self) -> dict[str, float]:
        """How long nobody has read each partition, of this consumer and of others; 0 for one that somebody reads."""
        read = dict.fromkeys([*self.distances(), *self._others], 0.0)
        return read | {name: self.elapsed_s(found.since_s) for name, found in self.resting().items()}

    def distances(self) -> Mapping[str, int]:
        """Records (Kafka) or bytes (spool) from what is committed of each partition to its end, as last told."""
        lag, in_hand = self._lag, self._in_hand
        return {partition: lag.get(partition, 0) + in_hand.get(partition, 0) for partition in {**lag, **in_hand}}

    def lag_s(self, now_s: float) -> dict[str, float]:
        """How old the newest stored event of each partition is that has more to read; 0 for one at its end.

        Left out is a partition with more to read of which nothing was stored yet: nobody knows how old that is.
        """
        newest = self._newest
        found = {}
        for partition, distance in self.distances().items():
            if not distance:
                found[partition] = 0.0
            elif partition in newest:
                found[partition] = max(0.0, now_s - newest[partition])
        return found


def _followed(before: _Other | None, reach: Reach, now_s: float) -> _Other:
    """What is known of a partition of another once it is so far."""
    if reach.position >= reach.end:
        return _Other(reach, None, None, now_s)
    moved = before is None or before.reach.position != reach.position
    still_since_s = now_s if moved or before is None or before.still_since_s is None else before.still_since_s
    left = (now_s, reach.end) if before is None or before.left is None else before.left
    read_until_s = None if before is None else before.read_until_s
    if reach.position >= left[1]:
        left, read_until_s = (now_s, reach.end), left[0]
    return _Other(reach, still_since_s, left, read_until_s)
