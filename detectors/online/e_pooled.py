"""e-SR that learns: each window beside the reference and all windows before it, pooled.

The other tests know of a share what the reference leaves open, and have to allow all of it, for ever: of 2,000 rows
none beyond the largest, so up to 0.4 % of a stream's. This one asks how likely the next row is to hit, after all rows
so far. A cut between two of ``n`` values leaves ``hits`` of them on one side; of the next row it is known, whatever the
law of the values, that it falls there with a chance of ``(hits + 1) / (n + 1)`` at most, and after ``rows`` more of
which ``more`` did, ``(hits + more + 1) / (n + rows + 1)`` (Polya's urn). So a row's bet is paid by

    e = exp(d * hit) / (1 - q + q * exp(d)),  q = (hits + 1) / (n + 1)

and of a window's rows, whose order counts have lost, by the larger of q before and after the window, once for each row:
never more than the rows are paid one by one, averaged over their orders (Jensen). Each is expected to be 1 at most
given all before it, so their sum over starts is an e-detector as the others' (``share_test.py``): of ``m`` windows
without change, ``m / threshold`` are expected to begin a false alarm at most, over the drawing of the reference, too,
and not only where its ranges are right.

That is exact for numbers at cuts that are values of the reference, until the first alarm. For cuts between two values,
and for categories, the chance is the largest that any prior of at most a row's weight gives it. Half of the first
capital goes to the ladders, which are two, and half to the shares.

What came since a change is left out of the pool, while its alarm stands and for good. Where a reference is not sampled
but known (``exactly``), nothing is learnt.

Sources: J. Shin, A. Ramdas, A. Rinaldo, E-detectors, 2022, section 2.3; V. Vovk, I. Nouretdinov, A. Gammerman, Testing
exchangeability on-line, 2003 (rows beside all rows before them); G. Polya, F. Eggenberger, 1923, for the urn.

>>> import numpy as np
>>> from detectors.online.contract import Counted, run
>>> from detectors.online.share_bounds import bounds
>>> test = EPooled(bounds(np.array([50.0]), 500), threshold=1000.0)
>>> quiet, changed = Counted(np.array([10.0]), 100), Counted(np.array([25.0]), 100)
>>> run(test, [quiet] * 20 + [changed] * 5)
[21]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.online.share_test import ShareTest


@dataclass(frozen=True, slots=True)
class EPooled(ShareTest):
    """Bets on rows, added up over all starts, against all rows so far; see the module's docstring."""

    @property
    def learns(self) -> bool:
        """Whether what it sees becomes part of what it expects: where the reference is a sample."""
        return self.bounds.sampled is not None

    def _joined(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.logaddexp(logs, self._weights)

    def _first_capital(self, possible: NDArray[np.bool_]) -> NDArray[np.float64]:
        on_ladders = np.arange(possible.shape[2]) >= len(self.bounds.upper)
        kinds = [kind for kind in (possible & on_ladders, possible & ~on_ladders) if kind.any()]
        return sum((kind / (len(kinds) * kind.sum()) for kind in kinds), np.zeros(possible.shape))

    def _costs_after(self, learnt: tuple[float, ...], hits: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        sampled = self.bounds.sampled
        if sampled is None:
            return self._cost
        *more, later = learnt or (0.0,) * (len(sampled.hits) + 1)
        known, total = sampled.hits + np.array(more), sampled.rows + later
        # Rows that hang together count as fewer.
        before = np.stack((known, total - known)) / self.together + 1.0
        after = before + np.stack((hits, rows - hits)) / self.together
        size, larger = total / self.together + 1.0, (total + rows) / self.together + 1.0
        chance = np.maximum(before / size, after / larger) + self.bounds.margin
        return self._costs(np.minimum(chance, 1.0), self._rises)

    def _learning(self, learnt: tuple[float, ...], hits: NDArray[np.float64], rows: int) -> tuple[float, ...]:
        if self.bounds.sampled is None:
            return ()
        seen = np.append(hits, float(rows))
        return tuple((np.array(learnt) + seen if learnt else seen).tolist())
