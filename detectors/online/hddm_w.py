"""HDDM-W: an exponentially weighted mean after the best cut against that before it, by McDiarmid's inequality.

    alarm when after - before > sqrt((b_before + b_after) * log(1 / confidence) / 2)

with weighted means ``m = w * x + (1 - w) * m`` and ``b = w**2 + (1 - w)**2 * b``, begun at the first observation and 1.
The cut is where the weighted mean of all plus its bound was lowest. Rises only. For sudden changes; many looks add up.
Source: I. Frias-Blanco and others, Online and non-parametric drift detection methods based on Hoeffding's bounds, 2015.

>>> from detectors.online.contract import run
>>> run(HddmW(), ([0.0] * 9 + [1.0]) * 20 + [1.0] * 50)
[210]
"""

import math
from dataclasses import dataclass

from detectors.online.contract import Onset


@dataclass(frozen=True, slots=True)
class HddmWState:
    """Observations seen; weighted means and their bounds of all since the last alarm, before the cut and after it."""

    seen: int = 0
    all_: tuple[float, float] = (0.0, -1.0)
    before: tuple[float, float] = (0.0, -1.0)
    after: tuple[float, float] = (0.0, -1.0)
    cut: float = math.inf
    cut_at: int = 0
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class HddmW:
    """See the module's docstring; ``weight``: of the newest observation."""

    confidence: float = 0.001
    weight: float = 0.05

    def start(self) -> HddmWState:
        """Nothing seen."""
        return HddmWState()

    def step(self, state: HddmWState, seen: float) -> HddmWState:
        """One observation further; the test begins anew after an alarm. What is outside [0, 1] is passed over."""
        if not 0.0 <= seen <= 1.0:
            return state
        old = HddmWState(seen=state.seen) if state.drifted else state
        number, total = old.seen + 1, self._weighed(old.all_, seen)
        reach = total[0] + self._bound(total[1])
        if reach < old.cut:
            return HddmWState(number, total, total, (0.0, -1.0), reach, number, False)
        after = self._weighed(old.after, seen)
        drifted = after[0] - old.before[0] > self._bound(old.before[1] + after[1])
        return HddmWState(number, total, old.before, after, old.cut, old.cut_at, drifted)

    def alarm(self, state: HddmWState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.drifted

    def evidence(self, state: HddmWState) -> float:
        """How far the weighted mean after the cut is above that before it, at least 0."""
        return max(0.0, state.after[0] - state.before[0]) if state.after[1] >= 0.0 else 0.0

    def onset(self, state: HddmWState) -> Onset | None:
        """The observation after the cut."""
        return Onset(state.cut_at, state.cut_at, state.cut_at) if state.drifted else None

    def _weighed(self, old: tuple[float, float], seen: float) -> tuple[float, float]:
        # A bound below 0 marks a mean of nothing; that of the first observation starts at 1.
        mean = seen if old[1] < 0.0 else self.weight * seen + (1.0 - self.weight) * old[0]
        bound = 1.0 if old[1] < 0.0 else old[1]
        return mean, self.weight**2 + (1.0 - self.weight) ** 2 * bound

    def _bound(self, independence: float) -> float:
        return math.sqrt(independence * math.log(1.0 / self.confidence) / 2.0)
