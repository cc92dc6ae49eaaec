"""Halves that waited long enough, as a source of records: looked up in the store, committed like any other."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from collector.store import halves as store_halves
from collector.store.halves import Room
from collector.store.store import Store
from driftline.clock import Clock
from driftline.monitors import Monitor
from driftline.records import Due, Reach, Record

#: The partition under which they are counted.
PARTITION = "halves:waiting"
_LIMIT = 1000
#: Looks between two searches for pairs that passed each other.
_MET_EVERY = 5


class WaitingRoom:
    """A ``RecordSource`` of what is due in the store: pairs that met, halves past their time, the oldest of too many.

    ``maximum_halves``, ``maximum_bytes``: beyond these the oldest halves are given up before their time.
    ``look_every_s``: real seconds between two looks.
    """

    def __init__(
        self,
        store: Store,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        *,
        maximum_halves: int,
        maximum_bytes: int,
        look_every_s: float = 1.0,
    ) -> None:
        self._store = store
        self._monitors = monitors
        self._clock = clock
        self._maximum_halves = maximum_halves
        self._maximum_bytes = maximum_bytes
        self._look_every_s = look_every_s
        self._longest_s = max([monitor.pairing.timeout for monitor in monitors.values()], default=3600.0)
        self._next_look = 0.0
        self._next_met = 0.0
        self._offered: dict[tuple[str, ...], int] = {}
        self._next_offset: int | None = None
        self._behind_s: Callable[[], float | None] = lambda: 0.0
        self._is_away: Callable[[], bool] = lambda: False
        self._reached_s: float | None = None
        self._away_since_s: float | None = None
        self._outages: list[tuple[float, float]] = []
        #: What waited when it was last looked at.
        self.room = Room(0, 0)

    def follow(self, behind_s: Callable[[], float | None], is_away: Callable[[], bool]) -> None:
        """Give up no half whose other half may be in what is still to be read, as after an outage.

        ``behind_s``: so long ago is the last moment of which all that had come by then was read; None: not known.
        ``is_away``: whether a source cannot be read. Meanwhile no time passes for halves: who sends the others cannot
        reach it either, and needs time once it is back.
        """
        self._behind_s, self._is_away = behind_s, is_away

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """What is due, without waiting for more; nothing between two looks."""
        if time.monotonic() < self._next_look or max_records <= 0:
            return []
        dues = self._due(min(max_records, _LIMIT))
        if not dues:
            self._next_look = time.monotonic() + self._look_every_s
            return []
        return self._records(dues)

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """What was offered is dealt with."""
        self._offered = {key: offset for key, offset in self._offered.items() if offset >= next_offset}

    def go_back(self, partition: str) -> bool:
        """Offer anew whatever the store has; what was offered before is forgotten."""
        self._offered, self._next_offset = {}, None
        return True

    def held(self) -> Mapping[str, str]:
        """None: the store needs nobody."""
        return {}

    def lag(self) -> Mapping[str, int]:
        """Of what waits, nobody knows what will be due: ``room`` says how much it is."""
        return {}

    def elsewhere(self) -> Mapping[str, Reach]:
        """None: nobody shares it."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""

    def _due(self, limit: int) -> list[Due]:
        behind_s, outages_s = self._behind_s(), self._outages_s()
        now_s = 0.0 if behind_s is None else self._clock() - behind_s - outages_s
        with self._store.reading() as connection:
            self.room = store_halves.room(connection)
            if not self.room.halves:
                return []
            found = self._met(connection, limit)
            for monitor in self._monitors.values():
                found += store_halves.timed_out(connection, monitor, now_s, limit)
            # Halves that no monitor knows (any more).
            found += store_halves.older_than(connection, now_s - self._longest_s, limit)
            halves, size_bytes = self.room.halves - self._maximum_halves, self.room.size_bytes - self._maximum_bytes
            if halves > 0 or size_bytes > 0:
                found += store_halves.oldest(connection, halves, size_bytes, limit)
        new = {due.identities: due for due in reversed(found) if due.identities not in self._offered}
        return list(reversed(new.values()))[:limit]

    def _outages_s(self) -> float:
        """How long sources were away of late: until a half from before has had all of its time again since."""
        now_s = self._clock()
        if self._is_away():
            if self._away_since_s is None:  # it went away after it was last seen, and nobody knows when
                self._away_since_s = now_s if self._reached_s is None else self._reached_s
            return now_s - self._away_since_s + self._past_outages_s(now_s)
        self._reached_s = now_s
        if self._away_since_s is not None:
            self._outages.append((self._away_since_s, now_s))
            self._away_since_s = None
        return self._past_outages_s(now_s)

    def _past_outages_s(self, now_s: float) -> float:
        self._outages = [outage for outage in self._outages if now_s - outage[1] <= self._longest_s]
        return sum(end_s - begin_s for begin_s, end_s in self._outages)

    def _met(self, connection: Any, limit: int) -> list[Due]:
        """Pairs that passed each other: seldom, and dear to look for."""
        if time.monotonic() < self._next_met:
            return []
        found = store_halves.met(connection, limit)
        if not found:
            self._next_met = time.monotonic() + _MET_EVERY * self._look_every_s
        return found

    def _records(self, dues: Sequence[Due]) -> list[Record]:
        stored = self._store.position(PARTITION) or 0
        begin = max(stored, self._next_offset or 0)
        self._next_offset = begin + len(dues)
        self._offered.update({due.identities: begin + number for number, due in enumerate(dues)})
        return [Record(PARTITION, begin + number, begin + number + 1, due) for number, due in enumerate(dues)]


#: Looks a partition's committed position up.
Start = Callable[[str], int | None]
