"""Where two distribution functions differ most, for several columns at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.columns import Columns
from detectors.statistics.count_passes import compared
from detectors.statistics.worked_out import worked_out


@dataclass(frozen=True, slots=True)
class LargestGaps:
    """The shares of rows up to and with the bin of the largest difference, in the reference and in the window.

    ``distances``: how far apart they are; shape (columns,) each. ``gaps``: by how much the shares differ at every bin,
    shape (columns, bins).
    """

    gaps: NDArray[np.float64]
    before: NDArray[np.float64]
    now: NDArray[np.float64]
    distances: NDArray[np.float64]


def largest_gaps(columns: Columns) -> LargestGaps:
    """Of numeric columns."""
    return worked_out(columns.known, "largest_gaps", lambda: _largest_gaps(columns))


def _largest_gaps(columns: Columns) -> LargestGaps:
    reference = columns.before
    before = worked_out(reference.known, "shares below", lambda: reference.below / reference.rows[:, None])
    return LargestGaps(*compared(before, columns.below))
