"""The shares of a column that sequential tests watch: few, each with a name that a person reads.

Numbers: the rows below each tenth of the reference, minus infinity, infinity, missing. Categories: each of the fifteen
that are most frequent in the reference, all others together, unseen, missing. A difference of the first kind is one of
the distribution functions, one of the second a difference of shares: both on the scale of ``minimum_effect``.

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
from detectors.online.contract import Counted
from detectors.statistics.tables import GROUPS, group_starts

#: Categories that are watched one by one.
NAMED = 15


@dataclass(frozen=True, slots=True)
class ColumnShares:
    """The watched shares of one column: their names, and which bins each of them counts (shape (shares, bins))."""

    names: tuple[str, ...]
    members: NDArray[np.float64]

    def of(self, counts: NDArray[np.int64]) -> Counted:
        """The hits of each share among the rows of a column's counts."""
        return Counted(self.members @ counts, int(counts.sum()))


def column_shares(column: ColumnLayout, reference: NDArray[np.int64]) -> ColumnShares:
    """What is watched of a column, by the reference's counts on its bins."""
    if column.kind == "categorical":
        return _categories(column, reference)
    finite = reference[1:-2]
    # A group begins at a bin whose lower end is a cut; the first bin has none.
    starts = [int(start) for start in group_starts(finite, GROUPS) if start > 0]
    names = [f"values below {column.cuts[start - 1]:.6g}" for start in starts]
    members = np.zeros((len(starts) + 3, len(reference)))
    for place, start in enumerate(starts):
        members[place, : start + 1] = 1.0  # minus infinity stands before the finite bins
    for place, cell in enumerate((0, -2, -1), start=len(starts)):
        members[place, cell] = 1.0
    return ColumnShares((*names, "minus infinity", "infinity", "missing values"), members)


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
    return ColumnShares((*names, "unseen values", "missing values"), members)
