"""EDDM: distances between errors that have become short, for slow changes.

    alarm when (m + 2 * s) / max(m + 2 * s) < 0.9,  m and s: mean and standard deviation of the distances so far

Source: M. Baena-Garcia and others, Early drift detection method, 2006.

>>> from detectors.online.contract import run
>>> run(Eddm(), ([0.0] * 9 + [1.0] + [0.0] * 19 + [1.0]) * 20 + [0.0, 1.0] * 50)
[671]
"""

import math
from dataclasses import dataclass

from detectors.online.contract import Onset


@dataclass(frozen=True, slots=True)
class EddmState:
    """Observations seen, and since the last alarm: their number, errors, and moments of the distances between them."""

    seen: int = 0
    count: int = 0
    last_error: int = 0
    errors: int = 0
    mean: float = 0.0
    squares: float = 0.0
    longest: float = -1.0
    share: float = 1.0
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Eddm:
    """See the module's docstring; nothing alarms before ``warm_up`` errors. Observations: 1, an error; 0, none."""

    limit: float = 0.9
    warm_up: int = 30

    def start(self) -> EddmState:
        """Nothing seen."""
        return EddmState()

    def step(self, state: EddmState, seen: float) -> EddmState:
        """One observation further; the test begins anew after an alarm. What is neither 0 nor 1 is passed over."""
        if seen not in (0.0, 1.0):
            return state
        old = EddmState(seen=state.seen) if state.drifted else state
        number, count = old.seen + 1, old.count + 1
        if seen == 0.0:
            return EddmState(number, count, old.last_error, old.errors, old.mean, old.squares, old.longest, old.share)
        errors, distance = old.errors + 1, count - old.last_error
        mean = old.mean + (distance - old.mean) / errors
        squares = old.squares + (distance - old.mean) * (distance - mean)
        longest, share, drifted = old.longest, old.share, False
        if count > self.warm_up:
            reach = mean + 2.0 * math.sqrt(squares / (errors - 1) if errors > 1 else 0.0)
            if reach > longest:
                longest, share = reach, 1.0
            elif errors > self.warm_up:
                share = reach / longest
                drifted = share < self.limit
        return EddmState(number, count, count, errors, mean, squares, longest, share, drifted)

    def alarm(self, state: EddmState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.drifted

    def evidence(self, state: EddmState) -> float:
        """How much shorter the distances have become, in [0, 1]; an alarm is above ``1 - limit``."""
        return 1.0 - state.share

    def onset(self, state: EddmState) -> Onset | None:
        """It does not tell."""
        return None
