"""The shares of a column that sequential tests watch: few, each with a name that a person reads.

Numbers: the rows below each tenth of the reference and below cuts in its tails, minus infinity, infinity, missing.
Categories: each of the fifteen that are most frequent in the reference, all others together, unseen, missing. A
difference of the first kind is one of the distribution functions, one of the second a difference of shares: both on the
scale of ``minimum_effect``.

The most frequent of many that are about alike are so by chance, and are rarer in every stream. So where there are more
than fifteen, a fifth of the reference's rows chooses them, and the others say how frequent they are.

>>> column = ColumnLayout("town", "categorical", categories=("Bern", "Chur"))
>>> watched = column_shares(column, np.array([60, 30, 0, 10]))
>>> watched.names, watched.of(np.array([6, 3, 0, 1])).hits.tolist()
(('Bern', 'Chur', 'unseen values', 'missing values'), [6.0, 3.0, 0.0, 1.0])
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_categories import CHOOSING
from detectors.online.contract import Counted
from detectors.statistics.tables import GROUPS, group_starts

#: Categories that are watched one by one.
NAMED = 15
#: Shares of the reference in each tail whose ends are cuts, too; 0 is the smallest, or the largest, value.
TAILS = (0.0, 0.005, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class ColumnShares:
    """The watched shares of one column: their names, and which bins each of them counts (shape (shares, bins)).

    ``ladders``: of nested ones, see :class:`detectors.online.share_bounds.ShareBounds`; shape (ladders, shares).
    """

    names: tuple[str, ...]
    members: NDArray[np.float64]
    ladders: NDArray[np.float64]

    def of(self, counts: NDArray[np.int64]) -> Counted:
        """The hits of each share among the rows of a column's counts."""
        return Counted(self.members @ counts, int(counts.sum()))


def watched_shares(
    column: ColumnLayout, reference: NDArray[np.int64], rng: np.random.Generator
) -> tuple[ColumnShares, Counted]:
    """What is watched of a column, and what the reference shows of it: those of its rows that did not choose it.

    >>> names = tuple(f"town {number:02d}" for number in range(20))
    >>> column = ColumnLayout("town", "categorical", categories=names)
    >>> shares, before = watched_shares(column, np.array([50] * 20 + [0, 0]), np.random.default_rng(1))
    >>> len(shares.names), before.rows
    (18, 805)
    """
    if column.kind == "numeric" or len(reference) - CATEGORICAL_EXTRA <= NAMED:
        shares = column_shares(column, reference)
        return shares, shares.of(reference)
    chose = rng.binomial(reference, CHOOSING)
    shares = column_shares(column, chose)
    return shares, shares.of(reference - chose)


def column_shares(column: ColumnLayout, reference: NDArray[np.int64]) -> ColumnShares:
    """What is watched of a column, by the counts of the rows that choose it on its bins."""
    if column.kind == "categorical":
        return _categories(column, reference)
    finite = reference[1:-2]
    # A group begins at a bin whose lower end is a cut; the first bin has none.
    starts = sorted({*(int(start) for start in group_starts(finite, GROUPS)), *_tails(finite)} - {0})
    names = [f"values below {column.cuts[start - 1]:.6g}" for start in starts]
    members = np.zeros((len(starts) + 3, len(reference)))
    for place, start in enumerate(starts):
        members[place, : start + 1] = 1.0  # minus infinity stands before the finite bins
    for place, cell in enumerate((0, -2, -1), start=len(starts)):
        members[place, cell] = 1.0
    ladders = np.zeros((2, len(members)))
    ladders[:, : len(starts)] = _ladders(members[: len(starts)] @ reference, int(reference.sum()))
    return ColumnShares((*names, "minus infinity", "infinity", "missing values"), members, ladders)


def _tails(finite: NDArray[np.int64]) -> set[int]:
    """The bins that begin where so little of the reference lies below, or above."""
    if not finite.any():
        return set()
    below = np.concatenate(([0], np.cumsum(finite)))
    total = int(below[-1])
    low = {int(np.searchsorted(below, tail * total, side="right")) - 1 for tail in TAILS}
    high = {int(np.searchsorted(below, (1.0 - tail) * total, side="left")) for tail in TAILS}
    return {start for start in low | high if start < len(finite)}


def _ladders(below: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Of cuts with so many rows below: the steps to the low end and to the high end, each as high as it is rare."""
    share = (below + 0.5) / (rows + 1.0)
    found = np.zeros((2, len(share)))
    # Cuts ascend: the rarest rows below stand at the first, the rarest above at the last.
    heights = (-np.log(share)[::-1], -np.log1p(-share))
    for ladder, height in zip(found, heights, strict=True):
        if len(height):
            ladder[:] = np.diff(height, prepend=0.0) / height[-1]
    found[0] = found[0, ::-1]
    return found


def _categories(column: ColumnLayout, reference: NDArray[np.int64]) -> ColumnShares:
    known = len(reference) - CATEGORICAL_EXTRA
    ranked = sorted(range(known), key=lambda code: (-int(reference[code]), code))
    chosen = sorted(ranked[:NAMED])
    rows = [[code] for code in chosen]
    names = [column.categories[code] for code in chosen]
    if ranked[NAMED:]:
        rows.append(ranked[NAMED:])
        names.append("rarer categories")
    members = np.zeros((len(rows) + 2, len(reference)))
    for place, codes in enumerate([*rows, [known], [known + 1]]):
        members[place, codes] = 1.0
    return ColumnShares((*names, "unseen values", "missing values"), members, np.zeros((0, len(members))))
