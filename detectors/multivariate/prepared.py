"""Rows of both samples as vectors of comparable numbers, one under the other.

All that is taken from the rows (centre, spread) is taken from both samples together, so that it is the same whichever
row belongs to which: a permutation test of what follows keeps to its rate exactly.

>>> rows = prepare(TableSample(("x",), np.array([[1.0], [3.0]]), np.array([[np.nan], [5.0]])), np.random.default_rng(0))
>>> rows.values.round(2).tolist()
[[-1.35, 0.0], [0.0, 0.0], [1.35, 0.0], [0.0, 1.0]]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.feature_reference import robust_scale
from detectors.counts.random_features import FURTHEST
from detectors.statistics.table_sample import TableSample

#: Of each sample at most so many rows are looked at, chosen by chance, where nobody asks for another number.
MAXIMUM_ROWS = 2500
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """``values``: the ``n`` rows of the reference, then the window's, shape (rows, places).

    ``columns``: which column of the sample each place tells of.
    """

    values: NDArray[np.float64]
    n: int
    columns: NDArray[np.intp]

    @property
    def m(self) -> int:
        """Rows of the window."""
        return len(self.values) - self.n


def prepare(sample: TableSample, rng: np.random.Generator, limit: int = MAXIMUM_ROWS) -> Prepared | None:
    """At most ``limit`` rows of either side; None where a side has fewer than two, or no column differs anywhere.

    Each column is centred at its median and measured in its spread, up to eight of them, but for an embedding's and for
    columns of zeros and ones. A missing value stands at the centre, with a mark at a place of its own.
    """
    if min(sample.reference_rows, sample.current_rows) < _FEWEST:
        return None
    before, now = (_some(in_order(rows), rng, limit) for rows in (sample.reference, sample.current))
    rows = np.concatenate((before, now)).astype(np.float64)
    places, columns = [], []
    for column in range(rows.shape[1]):
        for values in _places(rows[:, column], embedding=sample.embedding):
            places.append(values)
            columns.append(column)
    if not places:
        return None
    return Prepared(np.column_stack(places), len(before), np.array(columns, dtype=np.intp))


def in_order(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows in an order that depends on their values alone, so that nothing that follows depends on any other.

    >>> in_order(np.array([[2.0, np.nan], [1.0, 5.0], [2.0, -1.0]])).tolist()
    [[1.0, 5.0], [2.0, -1.0], [2.0, nan]]
    """
    tidy = np.ascontiguousarray(rows, dtype=np.float64) + 0.0  # one zero
    tidy[np.isnan(tidy)] = np.nan  # one NaN
    if not tidy.shape[1]:
        return tidy
    # Whole numbers that compare as the floats do, and these as bytes, the largest first.
    bits = tidy.view(np.int64)
    ranks = np.where(bits < 0, ~bits, bits | np.int64(-(2**63))).astype(">i8")
    return tidy[np.argsort(ranks.view(np.dtype((np.void, 8 * tidy.shape[1])))[:, 0], kind="stable")]


def _places(values: NDArray[np.float64], *, embedding: bool) -> list[NDArray[np.float64]]:
    missing = np.isnan(values)
    finite = values[np.isfinite(values)]
    centre, scale = robust_scale(values)
    if embedding:
        reach = float(np.abs(finite - centre).max()) if len(finite) else 0.0
        scaled = np.clip(values - centre, -reach, reach)
    elif bool(np.isin(finite, (0.0, 1.0)).all()) and not np.isinf(values).any():
        scaled = values - 0.5
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.clip((values - centre) / scale, -FURTHEST, FURTHEST)
    scaled = np.where(missing, 0.0, scaled)
    found = [scaled] if np.ptp(scaled) > 0.0 else []
    return [*found, missing.astype(np.float64)] if missing.any() and not missing.all() else found


def _some(rows: NDArray[np.float64], rng: np.random.Generator, limit: int) -> NDArray[np.float64]:
    if len(rows) <= limit:
        return rows
    return rows[np.sort(rng.choice(len(rows), limit, replace=False))]
