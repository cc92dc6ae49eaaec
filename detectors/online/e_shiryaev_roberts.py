"""e-SR: the sum over all starts so far of what bets placed then would have earned (Shiryaev-Roberts, with e-values).

    M[t] = (M[t - 1] + weight) * e[t]    per bet, summed over the bets

At most ``windows / threshold`` false alarms are expected; the mean run to a false alarm is at least ``threshold``.
Source: J. Shin, A. Ramdas, A. Rinaldo, E-detectors, 2022, section 2.3; S. W. Roberts, 1966.

>>> import numpy as np
>>> from detectors.online.contract import Counted, run
>>> from detectors.online.share_bounds import exactly
>>> test = EShiryaevRoberts(exactly(np.array([0.1])), threshold=1000.0)
>>> quiet, changed = Counted(np.array([10.0]), 100), Counted(np.array([25.0]), 100)
>>> run(test, [quiet] * 20 + [changed] * 5)
[21]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.online.share_test import ShareTest


@dataclass(frozen=True, slots=True)
class EShiryaevRoberts(ShareTest):
    """Bets on rows, added up over all starts; see the module's docstring."""

    def _joined(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.logaddexp(logs, self._weights)
