"""KSWIN: the newest observations against the older ones of a sliding window, by the Kolmogorov-Smirnov test.

The published method draws a sample of the older ones; here all of them are used, so that nothing is left to chance. An
alarm needs a p-value of at most ``level`` and a distance above 0.1; only the newest observations are kept then. It
looks at every observation, so that false alarms are many times ``level`` over a stream.
Source: C. Raab, M. Heusinger, F.-M. Schleif, Reactive soft prototype computing for concept drift streams, 2020.

>>> from detectors.online.contract import run
>>> run(Kswin(), [(i * 0.618) % 1.0 for i in range(300)] + [2 + (i * 0.618) % 1.0 for i in range(60)])
[310]
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from detectors.online.contract import Onset

_SMALLEST_DISTANCE = 0.1
_CLEARLY = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class KswinState:
    """Observations seen, those of the window (oldest first), the newest p-value, and whether it alarmed."""

    seen: int = 0
    window: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    p_value: float = 1.0
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Kswin:
    """See the module's docstring; ``size`` observations, of which ``newest`` are the new ones."""

    level: float = 0.005
    size: int = 100
    newest: int = 30

    def start(self) -> KswinState:
        """Nothing seen."""
        return KswinState()

    def step(self, state: KswinState, seen: float) -> KswinState:
        """One observation further; what is no number is passed over."""
        if not math.isfinite(seen):
            return state
        window = state.window[-self.newest :] if state.drifted else state.window
        window = np.append(window, seen)[-self.size :]
        if len(window) < self.size:
            return KswinState(state.seen + 1, window)
        distance, p_value = self._compared(np.sort(window[: -self.newest]), np.sort(window[-self.newest :]))
        return KswinState(state.seen + 1, window, p_value, p_value <= self.level and distance > _SMALLEST_DISTANCE)

    def _compared(self, older: NDArray[np.float64], newer: NDArray[np.float64]) -> tuple[float, float]:
        values = np.concatenate((older, newer))
        shares = [np.searchsorted(each, values, side="right") / len(each) for each in (older, newer)]
        distance = float(np.abs(shares[0] - shares[1]).max())
        rough = float(special.kolmogorov(distance * math.sqrt(len(older) * len(newer) / len(values))))
        # The exact law takes a hundred times as long, and is close to this one where it matters little.
        if rough > _CLEARLY * self.level:
            return distance, rough
        return distance, float(stats.ks_2samp(older, newer).pvalue)

    def alarm(self, state: KswinState) -> bool:
        """Whether the newest observation raised an alarm."""
        return state.drifted

    def evidence(self, state: KswinState) -> float:
        """One minus the p-value."""
        return 1.0 - state.p_value

    def onset(self, state: KswinState) -> Onset | None:
        """The first of the newest observations, which is where the test cuts, not an estimate."""
        at = state.seen - self.newest
        return Onset(at, at, at) if state.drifted else None
