"""Areas under Brownian bridges for several columns at once, each with its own thresholds (``brownian_bridge.py``)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.brownian_bridge import AreaNulls

#: The simulated tail is trusted down to this many draws.
_TAIL_DRAWS = 40
# Shares of rows left out at either end, ascending; each is simulated once per column at most.
_TRIMS: NDArray[np.float64] = 2.0 ** np.arange(-12.0, -1.0)


@dataclass(frozen=True, slots=True)
class ColumnAreas:
    """The null areas of several columns, ``nulls``, that are counted on at most ``bins`` bins.

    By column and trim, filled as they are asked for: steps at each bin's upper end, 0 outside the bulk, simulated areas
    (none without a bulk), where their tail begins, and the variance of the signed area.
    """

    nulls: tuple[AreaNulls, ...]
    bins: int
    _steps: NDArray[np.float64] = field(init=False, repr=False)
    _areas: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)
    _knots: NDArray[np.float64] = field(init=False, repr=False)
    _variances: NDArray[np.float64] = field(init=False, repr=False)
    _made: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = len(self.nulls), len(_TRIMS)
        object.__setattr__(self, "_steps", np.zeros((*shape, self.bins)))
        object.__setattr__(self, "_knots", np.zeros(shape))
        object.__setattr__(self, "_variances", np.zeros(shape))
        object.__setattr__(self, "_made", np.zeros(shape, dtype=bool))

    def p_values(self, gaps: NDArray[np.float64], beyond: NDArray[np.float64]) -> NDArray[np.float64]:
        """How probable areas at least as large as those under ``gaps`` are; NaN for columns without a bulk.

        ``gaps``: at each bin's upper end, shape (columns, bins). ``beyond``: the share of rows that must lie beyond a
        threshold, shape (columns,).
        """
        columns = np.arange(len(self.nulls))
        trims = np.minimum(np.searchsorted(_TRIMS, beyond), len(_TRIMS) - 1)
        for place in np.flatnonzero(~self._made[columns, trims]).tolist():
            self._make(place, int(trims[place]))
        found = np.einsum("ij,ij->i", gaps, self._steps[columns, trims])
        simulated = [self._areas[pair] for pair in enumerate(trims.tolist())]
        draws = np.array([len(areas) for areas in simulated])
        smaller = [areas.searchsorted(area) for areas, area in zip(simulated, found.astype(np.float32), strict=True)]
        hits = draws - np.array(smaller)
        tails = self._tails(found, self._knots[columns, trims], self._variances[columns, trims])
        p_values: NDArray[np.float64] = np.where(hits >= _TAIL_DRAWS, hits + 1, (_TAIL_DRAWS + 1) * tails) / (draws + 1)
        return np.where(draws > 0, p_values, np.nan)

    @staticmethod
    def _tails(
        found: NDArray[np.float64], knots: NDArray[np.float64], variances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Beyond the knot, the tail of the signed area, a normal law; 0 where it has no variance."""
        known = variances > 0
        exponent = (knots * knots - found * found) / (2.0 * np.where(known, variances, 1.0))
        return np.where(known, np.exp(np.minimum(exponent, 0.0)), 0.0)

    def _make(self, column: int, trim: int) -> None:
        null = self.nulls[column].trimmed(float(_TRIMS[trim]))
        self._made[column, trim] = True
        if null is None:
            self._areas[column, trim] = np.empty(0, dtype=np.float32)
            return
        # The first threshold is the upper end of the first finite bin, which minus infinity stands before.
        self._steps[column, trim, 1 : 1 + len(null.bulk)][null.bulk] = null.steps
        self._areas[column, trim] = null.areas
        self._knots[column, trim] = null.areas[-_TAIL_DRAWS]
        self._variances[column, trim] = null.signed_variance
