"""A classic on windows: what it is given of a column's counts, and what all its alarms have come to.

A window's counts do not tell the order of its rows. What a classic makes of them is its own definition, looked at once
a window:

- ``mean``: the mean of a column of numbers, in spreads of the reference, is one observation;
- ``shares``: so is the share of rows that hit each watched share, and its complement, each with a state of its own;
- ``rows``: the same, but a share counts as its rows, because the test knows sums alone.

A classic compares a stream with its own past, not with the reference. It promises nothing about false alarms.

>>> from detectors.online.page_hinkley import PageHinkley
>>> from detectors.online.contract import Counted
>>> test = OfWindows(PageHinkley(threshold=1.0), "mean", 0)
>>> state = test.start()
>>> for mean in [0.0] * 40 + [0.6] * 2:
...     state = test.step(state, Counted(np.zeros(0), 100), mean)
>>> state.alarms, test.onset(state), test.told(state)
(1, Onset(at=40, earliest=40, latest=40, reaches_back=False), [(None, '')])
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detectors.online.contract import Counted, Onset

#: What of a window a test is given.
Given = Literal["mean", "shares", "rows"]


@dataclass(frozen=True, slots=True)
class ClassicState:
    """Windows seen, those of them that were passed over, alarms, and per watched thing a state of the test.

    ``raised``: the places of those whose alarm the newest window raised.
    """

    seen: int
    skipped: tuple[int, ...]
    alarms: int
    members: tuple[Any, ...]
    raised: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OfWindows:
    """A classic over the windows of one column with ``shares`` watched shares; see the module's docstring.

    ``needed``: windows before which it never alarms.
    """

    test: Any
    given: Given
    shares: int
    needed: int = 1

    def start(self) -> ClassicState:
        """Nothing seen."""
        count = 1 if self.given == "mean" else 2 * self.shares
        return ClassicState(0, (), 0, (self.test.start(),) * count)

    def step(self, state: ClassicState, seen: Counted, mean: float) -> ClassicState:
        """One window further; one without rows, or without a mean where that is looked at, is passed over."""
        if seen.rows <= 0 or (self.given == "mean" and not math.isfinite(mean)):
            return ClassicState(state.seen + 1, (*state.skipped, state.seen), state.alarms, state.members)
        members = self._stepped(state.members, seen, mean)
        raised = tuple(place for place, member in enumerate(members) if self.test.alarm(member))
        return ClassicState(state.seen + 1, state.skipped, state.alarms + bool(raised), members, raised)

    def _stepped(self, members: tuple[Any, ...], seen: Counted, mean: float) -> tuple[Any, ...]:
        if self.given == "mean":
            return (self.test.step(members[0], mean),)
        share = np.clip(seen.hits / seen.rows, 0.0, 1.0)
        values = [*share.tolist(), *(1.0 - share).tolist()]
        if self.given == "shares":
            return tuple(self.test.step(member, value) for member, value in zip(members, values, strict=True))
        return tuple(
            self.test.step_rows(member, value, seen.rows) for member, value in zip(members, values, strict=True)
        )

    def alarm(self, state: ClassicState) -> bool:
        """Whether the newest window raised an alarm."""
        return bool(state.raised)

    def evidence(self, state: ClassicState) -> float:
        """The windows so far that raised an alarm."""
        return float(state.alarms)

    def onset(self, state: ClassicState) -> Onset | None:
        """Of the first that the newest window raised, in windows; None without an alarm, or where it is not told."""
        found = self.test.onset(state.members[state.raised[0]]) if state.raised else None
        if found is None:
            return None
        at, earliest, latest = (_window(state, number) for number in (found.at, found.earliest, found.latest))
        return Onset(at, earliest, latest, found.reaches_back)

    def told(self, state: ClassicState) -> list[tuple[int | None, str]]:
        """What the newest window raised: which share, ``None`` for the mean, and "rose" or "fell" of shares."""
        if self.given == "mean":
            return [(None, "")] * len(state.raised)
        return [(place % self.shares, "rose" if place < self.shares else "fell") for place in state.raised]


def _window(state: ClassicState, observation: int) -> int:
    """The number of the window that an observation was; the newest at most."""
    number = max(observation, 0)
    for skipped in state.skipped:
        number += skipped <= number
    return min(number, state.seen - 1)
