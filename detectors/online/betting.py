"""Betting on bounded means: a window's share is one observation in [0, 1], whatever its rows do among themselves.

    e[t] = 1 + l * (x[t] - p),  l = (exp(d) - 1) / (1 + p * (exp(d) - 1)),  x[t] = hits / rows

Rows may hang together in any way (one client that sends a thousand alike), windows may differ at random, as long as
the share expected next, given the past, is within the bounds. The price: a window of a million rows says no more than
one of a hundred, so small changes take many windows. Of single events, hits may be any numbers in [0, 1]: scores, say.

Source: I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, 2020 (the capital process);
joined over starts as in J. Shin, A. Ramdas, A. Rinaldo, E-detectors, 2022.

>>> import numpy as np
>>> from detectors.online.contract import Counted, run
>>> from detectors.online.share_bounds import exactly
>>> test = Betting(exactly(np.array([0.1])), threshold=1000.0)
>>> quiet, changed = Counted(np.array([10.0]), 100), Counted(np.array([40.0]), 100)
>>> run(test, [quiet] * 20 + [changed] * 15)
[24]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.online.share_test import SIZES, ShareTest


@dataclass(frozen=True, slots=True)
class Betting(ShareTest):
    """Bets on windows' shares, added up over all starts; see the module's docstring."""

    def _earned(self, hits: NDArray[np.float64], rows: int, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log1p(hits / rows * np.expm1(self._size)) - cost

    def _costs(self, null: NDArray[np.float64], rises: NDArray[np.float64]) -> NDArray[np.float64]:
        # The factor is linear in the share, and in the mean height.
        means = np.concatenate((null, null @ rises.T), axis=1)
        costs: NDArray[np.float64] = np.log1p(means[:, None, :] * np.expm1(SIZES)[None, :, None])
        return costs

    def _joined(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.logaddexp(logs, self._weights)
