"""Page-Hinkley: how far the sum of differences from the running mean has come from its lowest (or highest) point.

    up[t] = fade * up[t - 1] + (x - mean - delta),  alarm when up[t] - min(up) > threshold, and likewise downwards

Threshold and ``delta`` are in units of the stream; there is no promise about false alarms.
Sources: E. S. Page, Continuous inspection schemes, 1954; D. V. Hinkley, 1971; the fading sum: J. Gama, R. Sebastiao,
P. P. Rodrigues, 2013.

>>> from detectors.online.contract import run
>>> run(PageHinkley(threshold=5.0), [0.0] * 100 + [1.0] * 50)
[105]
"""

import math
from dataclasses import dataclass

from detectors.online.contract import Onset


@dataclass(frozen=True, slots=True)
class PageHinkleyState:
    """Observations seen and since the last alarm, their mean, both sums with their extremes and where these were."""

    seen: int = 0
    count: int = 0
    mean: float = 0.0
    up: float = 0.0
    down: float = 0.0
    lowest: float = math.inf
    highest: float = -1.0
    lowest_at: int = 0
    highest_at: int = 0
    side: int = 0


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """See the module's docstring; the first ``warm_up`` observations never alarm."""

    threshold: float = 50.0
    delta: float = 0.005
    fade: float = 1.0 - 0.0001
    warm_up: int = 30

    def start(self) -> PageHinkleyState:
        """Nothing seen."""
        return PageHinkleyState()

    def step(self, state: PageHinkleyState, seen: float) -> PageHinkleyState:
        """One observation further; the test begins anew after an alarm. What is no number is passed over."""
        if not math.isfinite(seen):
            return state
        old = PageHinkleyState(seen=state.seen) if state.side else state
        count, number = old.count + 1, old.seen + 1
        mean = old.mean + (seen - old.mean) / count
        up = self.fade * old.up + (seen - mean) - self.delta
        down = self.fade * old.down + (seen - mean) + self.delta
        lowest, lowest_at = (up, number) if up < old.lowest else (old.lowest, old.lowest_at)
        highest, highest_at = (down, number) if down > old.highest else (old.highest, old.highest_at)
        side = 0
        if count >= self.warm_up:
            side = 1 if up - lowest > self.threshold else (-1 if highest - down > self.threshold else 0)
        return PageHinkleyState(number, count, mean, up, down, lowest, highest, lowest_at, highest_at, side)

    def alarm(self, state: PageHinkleyState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.side != 0

    def evidence(self, state: PageHinkleyState) -> float:
        """The larger of both distances from the extremes, at least 0."""
        if state.count == 0:
            return 0.0
        return max(0.0, state.up - state.lowest, state.highest - state.down)

    def onset(self, state: PageHinkleyState) -> Onset | None:
        """The observation after the extreme."""
        if state.side == 0:
            return None
        at = state.lowest_at if state.side > 0 else state.highest_at
        return Onset(at, at, at)
