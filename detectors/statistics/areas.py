"""Areas under Brownian bridges for several columns at once, each with its own thresholds (``brownian_bridge.py``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.brownian_bridge import AreaNull, AreaNulls
from detectors.statistics.count_passes import ranked

#: The simulated tail is trusted down to this many draws.
_TAIL_DRAWS = 40
# Shares of rows left out at either end, ascending; each is simulated once per column at most.
_TRIMS: NDArray[np.float64] = 2.0 ** np.arange(-12.0, -1.0)
# Windows of one stream leave out the same shares, mostly; what was put together for that many others is kept, too.
_LAWS = 8
_NO_AREAS: NDArray[np.float32] = np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ColumnAreas:
    """The null areas of several columns, ``nulls``, that are counted on at most ``bins`` bins."""

    nulls: tuple[AreaNulls, ...]
    bins: int
    #: By the trim of each column, filled as they are asked for.
    _laws: dict[bytes, "_Law"] = field(default_factory=dict, init=False, repr=False)

    def p_values(
        self, gaps: NDArray[np.float64], roots: NDArray[np.float64], beyond: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How probable areas at least as large as those under ``gaps`` times ``roots`` are; NaN without a bulk.

        ``gaps``: at each bin's upper end, shape (columns, bins). ``beyond``: the share of rows that must lie beyond a
        threshold, shape (columns,) as ``roots``.
        """
        law = self._law(np.minimum(_TRIMS.searchsorted(beyond), len(_TRIMS) - 1))
        found = np.einsum("ij,ij->i", gaps, law.steps) * roots
        hits, chances = ranked(found, law.ordered, law.ends, law.draws)
        few = hits < _TAIL_DRAWS
        if few.any():
            chances[few] = ((_TAIL_DRAWS + 1) * law.tails(found) / law.known)[few]
        return chances

    def _law(self, trims: NDArray[np.intp]) -> "_Law":
        asked = trims.tobytes()
        if asked not in self._laws:
            if len(self._laws) == _LAWS:
                del self._laws[next(iter(self._laws))]
            chosen = zip(self.nulls, _TRIMS[trims].tolist(), strict=True)
            self._laws[asked] = _law_of([null.trimmed(trim) for null, trim in chosen], self.bins)
        return self._laws[asked]


@dataclass(frozen=True, slots=True)
class _Law:
    """The areas of columns, each at one trim.

    ``steps``: at each bin's upper end, 0 outside the bulk, shape (columns, bins). ``ordered``: the simulated areas of
    all columns as whole numbers, one column's after the other's, each with its column's number before it;
    ``ends``: where each column's end, and ``draws``: how many it has, none without a bulk; ``known``: one more, NaN
    without a bulk. ``knots``: where their tails begin; ``variances``: of the signed areas.
    """

    steps: NDArray[np.float64]
    ordered: NDArray[np.int64]
    ends: NDArray[np.int64]
    draws: NDArray[np.int64]
    knots: NDArray[np.float64]
    variances: NDArray[np.float64]
    known: NDArray[np.float64]

    def tails(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """Beyond the knot, the tail of the signed area, a normal law; 0 where it has no variance."""
        known = self.variances > 0
        exponent = (self.knots * self.knots - found * found) / (2.0 * np.where(known, self.variances, 1.0))
        return np.where(known, np.exp(np.minimum(exponent, 0.0)), 0.0)


def _law_of(nulls: Sequence[AreaNull | None], bins: int) -> _Law:
    columns = np.arange(len(nulls))
    steps, knots, variances = np.zeros((len(nulls), bins)), np.zeros(len(nulls)), np.zeros(len(nulls))
    for place, null in enumerate(nulls):
        if null is not None:
            # The first threshold is the upper end of the first finite bin, which minus infinity stands before.
            steps[place, 1 : 1 + len(null.bulk)][null.bulk] = null.steps
            knots[place], variances[place] = null.areas[-_TAIL_DRAWS], null.signed_variance
    areas = [_NO_AREAS if null is None else null.areas for null in nulls]
    draws = np.array([len(each) for each in areas], dtype=np.int64)
    # Whole numbers in the order of the columns and, within one, of its areas: floats above zero order as their bits.
    # So one search serves all columns.
    ordered = (np.repeat(columns, draws) << 32) | np.concatenate(areas).view(np.uint32)
    known = np.where(draws > 0, draws + 1.0, np.nan)
    return _Law(steps, ordered, draws.cumsum(), draws, knots, variances, known)
