"""Error control across time that forgets: neither starves in long quiet nor lives on the alarms of last year.

A test ``n`` tests ago weighs ``keep ** n``. With the weighted sum ``A`` of levels and ``R`` of rejections so far:

    level = share * free * (rate * max(1, R) - A),  share = min(1, 4 * (1 - keep))

so that ``A <= rate * max(1, R)`` at every moment, and in quiet times the level stays near ``0.8 * rate * (1 - keep)``.
With ``candidate`` below 1, as in SAFFRON, only p-values above it cost, each ``1 / free`` times its level, with
``free = 1 - candidate``; else everything costs and ``free`` is 1.

What it promises: of alarms weighted by how recent they are, the expected false ones are at most ``rate`` times the
expected ``max(1, all)``. For a level fixed before its test, a p-value without change falls below it no more often than
the level says; so the expected false alarms are at most the expected levels (or ``1 / free`` times those of p-values
above ``candidate``), whose weighted sum is ``A``. It needs no independence but that: given the past, a p-value of no
change is not too small.

The measure, and why memory must decay: A. Ramdas, F. Yang, M. Wainwright, M. Jordan, Online control of the false
discovery rate with decaying memory, 2017, section 4. The rule is the plainest that keeps its bound.

>>> control = Fading(0.05, keep=0.5 ** (1 / 30))
>>> state = control.start()
>>> for _ in range(1000):
...     state = control.step(state, 0.4)
>>> 0.7 < control.level(state) / (0.05 * (1 - control.keep)) < 0.9
True
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FadingState:
    """Weighted sums of what was spent and of rejections, as of the next test."""

    spent: float = 0.0
    rejections: float = 0.0


@dataclass(frozen=True, slots=True)
class Fading:
    """See the module's docstring; ``keep`` in (0, 1): what a test weighs one test later."""

    rate: float
    keep: float
    candidate: float = 1.0

    @property
    def _free(self) -> float:
        return 1.0 - self.candidate if self.candidate < 1.0 else 1.0

    def start(self) -> FadingState:
        """Nothing tested."""
        return FadingState()

    def level(self, state: FadingState) -> float:
        """The level of the next test."""
        left = self.rate * max(1.0, state.rejections) - state.spent
        share = min(1.0, 4.0 * (1.0 - self.keep))
        return min(self.candidate, share * self._free * max(0.0, left))

    def step(self, state: FadingState, p_value: float) -> FadingState:
        """The state after a test's p-value."""
        level = self.level(state)
        costs = self.candidate >= 1.0 or p_value > self.candidate
        spent = state.spent + (level / self._free if costs else 0.0)
        return FadingState(self.keep * spent, self.keep * (state.rejections + (p_value <= level)))

    def spent(self, state: FadingState) -> float:
        """Share of the rate that is spent now, in [0, 1]."""
        return state.spent / (self.rate * max(1.0, state.rejections))
