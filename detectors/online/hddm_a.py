"""HDDM-A: the mean of all observations against that up to the best cut, by Hoeffding's inequality.

    alarm when mean - mean_cut >= sqrt((n - n_cut) / (2 * n_cut * n) * log(2 / confidence))

The cut is where ``mean + sqrt(log(1 / confidence) / (2 * n))`` was lowest. Observations in [0, 1]; rises only, or both
ways. Each look has an error of its own: over a long stream false alarms add up.
Source: I. Frias-Blanco and others, Online and non-parametric drift detection methods based on Hoeffding's bounds, 2015.

>>> from detectors.online.contract import run
>>> run(HddmA(), ([0.0] * 9 + [1.0]) * 20 + [0.0, 1.0] * 50)
[223]
"""

import math
from dataclasses import dataclass

from detectors.online.contract import Onset


@dataclass(frozen=True, slots=True)
class HddmAState:
    """Observations seen; rows and mean since the last alarm, and of both cuts; where these are; which side alarmed."""

    seen: int = 0
    count: int = 0
    mean: float = 0.0
    low_count: int = 0
    low_mean: float = 0.0
    high_count: int = 0
    high_mean: float = 0.0
    low_at: int = 0
    high_at: int = 0
    side: int = 0


@dataclass(frozen=True, slots=True)
class HddmA:
    """See the module's docstring."""

    confidence: float = 0.001
    both_ways: bool = False

    def start(self) -> HddmAState:
        """Nothing seen."""
        return HddmAState()

    def step(self, state: HddmAState, seen: float) -> HddmAState:
        """One observation further; the test begins anew after an alarm. What is outside [0, 1] is passed over."""
        return self.step_rows(state, seen, 1)

    def step_rows(self, state: HddmAState, seen: float, rows: int) -> HddmAState:
        """``rows`` rows further, whose mean is ``seen``, as one observation: looked at after them."""
        if not 0.0 <= seen <= 1.0 or rows <= 0:
            return state
        old = HddmAState(seen=state.seen) if state.side else state
        count, number = old.count + rows, old.seen + 1
        mean = old.mean + (seen - old.mean) * rows / count
        low, high = (old.low_count, old.low_mean), (old.high_count, old.high_mean)
        low_at, high_at = old.low_at, old.high_at
        bound = self._bound(count)
        if not low[0] or low[1] + self._bound(low[0]) >= mean + bound:
            low, low_at = (count, mean), number
        if not high[0] or high[1] - self._bound(high[0]) <= mean - bound:
            high, high_at = (count, mean), number
        side = 0
        if self._apart(count, low[0], mean - low[1]):
            side = 1
        elif self.both_ways and self._apart(count, high[0], high[1] - mean):
            side = -1
        return HddmAState(number, count, mean, *low, *high, low_at, high_at, side)

    def alarm(self, state: HddmAState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.side != 0

    def evidence(self, state: HddmAState) -> float:
        """How far the mean has risen above that of the cut (or fallen below, where both ways count), at least 0."""
        fallen = state.high_mean - state.mean if self.both_ways else 0.0
        return max(0.0, state.mean - state.low_mean, fallen)

    def onset(self, state: HddmAState) -> Onset | None:
        """The observation after the cut."""
        if state.side == 0:
            return None
        at = state.low_at if state.side > 0 else state.high_at
        return Onset(at, at, at)

    def _bound(self, count: int) -> float:
        return math.sqrt(math.log(1.0 / self.confidence) / (2.0 * count))

    def _apart(self, count: int, cut_count: int, gap: float) -> bool:
        if cut_count == count:
            return False
        return gap >= math.sqrt((count - cut_count) / (2.0 * cut_count * count) * math.log(2.0 / self.confidence))
