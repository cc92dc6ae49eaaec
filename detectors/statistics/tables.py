"""Tables of counts that the chi-square approximation holds for, and exact tests for the cells it does not hold for.

A cell is *dense* when the smaller sample expects at least five rows in it. Known cells that are sparse are pooled into
one; unseen, missing and infinite stay apart, because they mean something of their own. Dense cells go into a
chi-square-like statistic; each sparse cell left over gets an exact test (binomial, given how many rows of both samples
fall into it). The smallest p-value counts, times the number of tests (Bonferroni), so rare cells can neither raise
false alarms nor hide: one unseen value in a million rows proves nothing, thirty in a hundred do.

The five rows: W. G. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10, 1954.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.counts.binning import CATEGORICAL_EXTRA
from detectors.statistics.evidence import ColumnSample

MINIMUM_EXPECTED = 5.0
#: Groups of finite values, of about equal reference mass, that the frequency statistics look at.
GROUPS = 10
# A numeric column's minus infinity, infinity, missing.
_SPECIAL = (0, -2, -1)


@dataclass(frozen=True, slots=True)
class Table:
    """Dense cells of both samples, shape (cells,), and the rows (reference, current) of each sparse cell.

    ``reference_rows`` and ``current_rows`` are the sizes of the whole samples.
    """

    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    sparse: tuple[tuple[int, int], ...]
    reference_rows: int
    current_rows: int

    @property
    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All cells as shares above zero that sum to one, half a row being added to each cell (Jeffreys' prior)."""
        reference = np.concatenate((self.reference, [cell[0] for cell in self.sparse])) + 0.5
        current = np.concatenate((self.current, [cell[1] for cell in self.sparse])) + 0.5
        return reference / reference.sum(), current / current.sum()

    @property
    def dense(self) -> "Table":
        """The same without its sparse cells: what a chi-square law holds for."""
        return Table(self.reference, self.current, (), self.reference_rows, self.current_rows)

    @property
    def scale(self) -> float:
        """``1 / n + 1 / m``: what divergences of two samples of one distribution shrink with."""
        return 1.0 / self.reference_rows + 1.0 / self.current_rows


def table(sample: ColumnSample) -> Table:
    """The column as a table: categories, or groups of finite values, and the special cells."""
    if "table" not in sample.known:
        sample.known["table"] = _table(sample)
    found: Table = sample.known["table"]
    return found


def _table(sample: ColumnSample) -> Table:
    reference_rows, current_rows = sample.reference_rows, sample.current_rows
    if sample.kind == "categorical":
        known, special_cells = slice(0, -CATEGORICAL_EXTRA), [-2, -1]
        reference, current = sample.reference[known], sample.current[known]
    else:
        known, special_cells = slice(1, -2), list(_SPECIAL)
        starts = group_starts(sample.reference[known], GROUPS) if sample.groups is None else sample.groups
        reference = np.add.reduceat(sample.reference[known], starts)
        current = np.add.reduceat(sample.current[known], starts)
    share = min(reference_rows, current_rows) / (reference_rows + current_rows)
    is_dense = (reference + current) * share >= MINIMUM_EXPECTED
    cells: list[tuple[int, int]] = [(int(sample.reference[cell]), int(sample.current[cell])) for cell in special_cells]
    if not is_dense.all():
        cells.append((int(reference[~is_dense].sum()), int(current[~is_dense].sum())))
        reference, current = reference[is_dense], current[is_dense]
    dense = [cell for cell in cells if sum(cell) * share >= MINIMUM_EXPECTED]
    sparse = tuple(cell for cell in cells if 0 < sum(cell) * share < MINIMUM_EXPECTED)
    if dense:
        reference = np.append(reference, [cell[0] for cell in dense])
        current = np.append(current, [cell[1] for cell in dense])
    return Table(reference, current, sparse, reference_rows, current_rows)


def group_starts(reference: NDArray[np.int64], groups: int) -> NDArray[np.intp]:
    """Where to begin each of at most ``groups`` groups of neighbouring bins with about equal reference mass."""
    total = max(int(reference.sum()), 1)
    middles = np.cumsum(reference) - reference * 0.5
    group = (middles * (groups / total)).astype(np.intp)
    return np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))


def calibrated_p_value(counts: Table, chi_square: float) -> float:
    """The p-value of ``chi_square``, a statistic of the dense cells, together with the sparse cells' exact tests."""
    cells = len(counts.reference)
    p_values = [float(special.chdtrc(cells - 1, max(chi_square, 0.0)))] if cells > 1 else []
    return bonferroni([*p_values, *(cell_p_value(counts, cell) for cell in counts.sparse)])


def cell_p_value(counts: Table, cell: tuple[int, int]) -> float:
    """Exact two-sided p-value of one sparse cell, given its rows in both samples together."""
    return binomial_p_value(cell[1], sum(cell), counts.current_rows / (counts.reference_rows + counts.current_rows))


def binomial_p_value(hits: int, trials: int, share: float) -> float:
    """Two-sided p-value of ``hits`` among ``trials`` where each hits with probability ``share``: twice the tail.

    >>> round(binomial_p_value(5, 5, 0.5), 4)
    0.0625
    """
    if trials == 0:
        return 1.0
    above = float(special.bdtrc(hits - 1, trials, share)) if hits > 0 else 1.0
    below = float(special.bdtr(hits, trials, share))
    return min(1.0, 2.0 * min(above, below))


def special_p_values(sample: ColumnSample) -> list[float]:
    """Of a numeric column's minus infinity, infinity and missing, where rows have them: exact tests of their shares."""
    share = sample.current_rows / (sample.reference_rows + sample.current_rows)
    cells = [(int(sample.reference[cell]), int(sample.current[cell])) for cell in _SPECIAL]
    return [binomial_p_value(now, before + now, share) for before, now in cells if before + now]


def bonferroni(p_values: list[float]) -> float:
    """The smallest of several p-values, times their number, at most 1; 1 when there are none."""
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0
