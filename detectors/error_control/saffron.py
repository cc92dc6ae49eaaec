"""SAFFRON and ADDIS: as LORD++, but only tests that look like no change cost anything.

A p-value up to ``candidate`` is a candidate and costs nothing; one above costs its level. With ``t`` counting only
tests that were not candidates, all of them and those since each rejection, and ``c = discard - candidate``:

    level = min(candidate, c * (start * g[t] + (rate - start) * g[t1] + rate * (g[t2] + g[t3] + ...)))
    g[j] = 0.4374901658 / j ** 1.6

SAFFRON has ``discard`` 1. ADDIS takes no notice at all of p-values above ``discard`` (1/2), which pays where p-values
of no change are too large rather than uniform, as of coarse counts and of tests that are too careful.

At every moment the levels of what cost, over ``c``, sum to at most ``rate * max(rejections, 1)``. P-values have to be
independent; LORD++ does not ask as much.

Sources: A. Ramdas, T. Zrnic, M. Wainwright, M. Jordan, SAFFRON, 2018; J. Tian, A. Ramdas, ADDIS, 2019, equation (7).

>>> control = Saffron(0.05)
>>> round(control.level(control.start()), 6)
0.005469
"""

import math
from dataclasses import dataclass

_SUM_TO_ONE, _POWER = 0.4374901658, 1.6


@dataclass(frozen=True, slots=True)
class SaffronState:
    """Tests so far that cost, their number when each rejection came, and the sum of their levels."""

    costing: int = 0
    rejections: tuple[int, ...] = ()
    levels: float = 0.0


@dataclass(frozen=True, slots=True)
class Saffron:
    """See the module's docstring; ``Saffron(rate, candidate=0.25, discard=0.5)`` is ADDIS."""

    rate: float
    candidate: float = 0.5
    discard: float = 1.0
    wealth: float = 0.5

    def start(self) -> SaffronState:
        """Nothing tested."""
        return SaffronState()

    def level(self, state: SaffronState) -> float:
        """The level of the next test."""
        start = self.rate * self.wealth
        level = start * _share(state.costing)
        for number, costing in enumerate(state.rejections):
            level += (self.rate if number else self.rate - start) * _share(state.costing - costing)
        return min(self.candidate, (self.discard - self.candidate) * level)

    def step(self, state: SaffronState, p_value: float) -> SaffronState:
        """The state after a test's p-value."""
        if p_value > self.discard:
            return state
        level = self.level(state)
        if p_value > self.candidate:
            return SaffronState(state.costing + 1, state.rejections, state.levels + level)
        rejections = (*state.rejections, state.costing) if p_value <= level else state.rejections
        return SaffronState(state.costing, rejections, state.levels)

    def spent(self, state: SaffronState) -> float:
        """Share of the rate that is spent so far, in [0, 1]: every level that cost, over the rejections."""
        levels = state.levels / (self.discard - self.candidate)
        return levels / (self.rate * max(len(state.rejections), 1))


def addis(rate: float) -> Saffron:
    """ADDIS with its authors' choice: candidates up to 1/4, nothing above 1/2."""
    return Saffron(rate, candidate=0.25, discard=0.5)


def _share(before: int) -> float:
    return _SUM_TO_ONE / math.pow(before + 1, _POWER)
