"""LORD++: at which level to test next, so that of all alarms over time at most a share ``rate`` is false.

A wealth of ``start`` (a tenth of the rate) is spent over all tests to come; every rejection earns the rate anew, the
first one what is left of it. The level of test ``t`` after rejections at ``r1, r2, ...``:

    level[t] = start * g[t] + (rate - start) * g[t - r1] + rate * (g[t - r2] + g[t - r3] + ...)
    g[j] = 0.07720838 * log(max(j, 2)) / (j * exp(sqrt(log(j))))

At every moment the levels so far sum to at most ``rate * max(rejections, 1)``, which is the proof. Long quiet starves
it ("alpha death"): after a thousand tests without a rejection the level is 0.0000002 at a rate of 0.05. ``fading.py``
does not starve.

Source: A. Ramdas, F. Yang, M. Wainwright, M. Jordan, Online control of the false discovery rate with decaying memory,
2017; the sequence: A. Javanmard, A. Montanari, 2018.

>>> control = Lord(0.05)
>>> state = control.start()
>>> state = control.step(state, 1e-9)
>>> round(control.level(state), 6), state.rejections
(0.002466, (1,))
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LordState:
    """Tests so far, the numbers (from 1) of those that were rejected, and the sum of their levels."""

    tests: int = 0
    rejections: tuple[int, ...] = ()
    levels: float = 0.0


@dataclass(frozen=True, slots=True)
class Lord:
    """See the module's docstring."""

    rate: float
    wealth: float = 0.1

    def start(self) -> LordState:
        """Nothing tested."""
        return LordState()

    def level(self, state: LordState) -> float:
        """The level of the next test."""
        at, start = state.tests + 1, self.rate * self.wealth
        level = start * _share(at)
        for number, rejection in enumerate(state.rejections):
            level += (self.rate if number else self.rate - start) * _share(at - rejection)
        return level

    def step(self, state: LordState, p_value: float) -> LordState:
        """The state after a test's p-value."""
        level, at = self.level(state), state.tests + 1
        rejections = (*state.rejections, at) if p_value <= level else state.rejections
        return LordState(at, rejections, state.levels + level)

    def spent(self, state: LordState) -> float:
        """Share of the rate that is spent so far, in [0, 1]: every level, over the rejections."""
        return state.levels / (self.rate * max(len(state.rejections), 1))


def _share(number: int) -> float:
    return 0.07720838 * math.log(max(number, 2)) / (number * math.exp(math.sqrt(math.log(number))))
