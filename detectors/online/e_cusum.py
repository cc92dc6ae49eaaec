"""e-CUSUM: what the best start so far would have earned (CUSUM, with e-values).

    M[t] = max(M[t - 1], weight) * e[t]    per bet, summed over the bets

Never above e-SR on the same bets, so its promise is the same and it alarms a little later; it forgets faster.
Source: J. Shin, A. Ramdas, A. Rinaldo, E-detectors, 2022, section 2.3; E. S. Page, Continuous inspection schemes, 1954.

>>> import numpy as np
>>> from detectors.online.contract import Counted, run
>>> from detectors.online.share_bounds import exactly
>>> test = ECusum(exactly(np.array([0.1])), threshold=1000.0)
>>> quiet, changed = Counted(np.array([10.0]), 100), Counted(np.array([25.0]), 100)
>>> run(test, [quiet] * 20 + [changed] * 5)
[21]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.online.share_test import ShareTest


@dataclass(frozen=True, slots=True)
class ECusum(ShareTest):
    """Bets on rows, of the best start; see the module's docstring."""

    def _joined(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(logs, self._weights)
