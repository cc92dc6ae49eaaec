"""DDM: a rate of errors that stands three standard deviations above the lowest it has been.

    alarm when p + s > p_min + 3 * s_min,  s = sqrt(p * (1 - p) / n)

with ``p_min + s_min`` the lowest ``p + s`` so far. Chance alone raises an alarm sooner or later.
Source: J. Gama, P. Medas, G. Castillo, P. Rodrigues, Learning with drift detection, 2004.

>>> from detectors.online.contract import run
>>> run(Ddm(), ([0.0] * 9 + [1.0]) * 20 + [0.0, 1.0] * 50)
[219]
"""

import math
from dataclasses import dataclass

from detectors.online.contract import Onset


@dataclass(frozen=True, slots=True)
class DdmState:
    """Observations seen, and since the last alarm: their rows, rate of errors, the lowest rate and when it was."""

    seen: int = 0
    count: int = 0
    rate: float = 0.0
    lowest: float = math.inf
    lowest_spread: float = 0.0
    lowest_at: int = 0
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Ddm:
    """See the module's docstring; the first ``warm_up`` observations never alarm. 1 is an error, 0 is none."""

    deviations: float = 3.0
    warm_up: int = 30

    def start(self) -> DdmState:
        """Nothing seen."""
        return DdmState()

    def step(self, state: DdmState, seen: float) -> DdmState:
        """One observation further; the test begins anew after an alarm. What is outside [0, 1] is passed over."""
        return self.step_rows(state, seen, 1)

    def step_rows(self, state: DdmState, seen: float, rows: int) -> DdmState:
        """``rows`` rows further, of which the share ``seen`` are errors, as one observation: looked at after them."""
        if not 0.0 <= seen <= 1.0 or rows <= 0:
            return state
        old = DdmState(seen=state.seen) if state.drifted else state
        count, number = old.count + rows, old.seen + 1
        rate = min(1.0, max(0.0, old.rate + (seen - old.rate) * rows / count))
        if count <= self.warm_up:
            return DdmState(number, count, rate)
        spread = math.sqrt(rate * (1.0 - rate) / count)
        lowest, lowest_spread, at = old.lowest, old.lowest_spread, old.lowest_at
        if rate + spread <= lowest + lowest_spread:
            lowest, lowest_spread, at = rate, spread, number
        drifted = rate + spread > lowest + self.deviations * lowest_spread
        return DdmState(number, count, rate, lowest, lowest_spread, at, drifted)

    def alarm(self, state: DdmState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.drifted

    def evidence(self, state: DdmState) -> float:
        """Standard deviations (of the lowest rate) above the lowest rate; 0 while there is none."""
        if not math.isfinite(state.lowest) or state.lowest_spread == 0.0:
            return 0.0
        spread = math.sqrt(state.rate * (1.0 - state.rate) / state.count)
        return (state.rate + spread - state.lowest) / state.lowest_spread

    def onset(self, state: DdmState) -> Onset | None:
        """The observation after the lowest rate."""
        return Onset(state.lowest_at, state.lowest_at, state.lowest_at) if state.drifted else None
