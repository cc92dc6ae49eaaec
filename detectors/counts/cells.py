"""Where on the line of numbers a value lies, by looking it up: what the compiled build counts by.

The distance of a value from a centre, rounded to a float32, keeps its order, and so does its leading half: sign,
exponent and seven digits. So 65,536 cells cover all numbers, narrow near the centre and in proportion to the distance
further out, whatever the scale and however heavy the tails. A table says how many edges lie below each cell. Only the
few edges inside a value's own cell are compared with the value itself, which makes its bin exact: that of
``np.searchsorted``.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftline.native import native_module

_CELLS = 1 << 16
_SIGN = 1 << 15
#: The leading half of infinity; beyond it are those of what is no number.
_INFINITE = 0x7F80
#: The table's numbers go no further.
_MOST_EDGES = 60_000


@dataclass(frozen=True, slots=True)
class Cells:
    """The table for the full edges of a column.

    ``below``: edges below the cell of each leading half, shape (65536,). ``edges``: padded with NaN, so that a search
    may look beyond the last. ``halvings``: steps of the search inside a cell. ``bins``: how many there are.
    """

    centre: float
    below: NDArray[np.uint16]
    edges: NDArray[np.float64]
    halvings: int
    bins: int


class Kernel(Protocol):
    """What ``cell_kernel.pyx`` gives."""

    def count(
        self,
        values: NDArray[np.float64],
        centre: float,
        below: NDArray[np.uint16],
        edges: NDArray[np.float64],
        halvings: int,
        counts: NDArray[np.int64],
    ) -> None:
        """Add the rows of each bin to ``counts``."""
        ...


def kernel() -> Kernel | None:
    """The compiled module; None where this build has none."""
    return cast("Kernel | None", native_module("detectors.counts.cell_kernel"))


def cells_of(edges: NDArray[np.float64]) -> Cells | None:
    """The table for full edges (``binning.full_edges``); None where there are too many."""
    if len(edges) > _MOST_EDGES:
        return None
    numbers, cuts = edges[:-1], edges[1:-2]
    centre = float(cuts[len(cuts) // 2]) if len(cuts) else 0.0
    inside = np.bincount(_places(_leading_halves(numbers, centre)), minlength=_CELLS)
    halves = np.arange(_CELLS)
    below = (np.cumsum(inside) - inside)[_places(halves)]
    below[(halves & ~_SIGN) > _INFINITE] = len(edges)
    halvings = int(inside.max()).bit_length()
    padded = np.concatenate((edges, np.full(1 << halvings, np.nan)))
    return Cells(centre, below.astype(np.uint16), padded, halvings, len(edges) + 1)


def count_in_cells(compiled: Kernel, values: NDArray[np.float64], cells: Cells) -> NDArray[np.int64]:
    """Rows per bin, as ``binning.count_numbers`` counts them."""
    counts = np.zeros(cells.bins, dtype=np.int64)
    row = np.ascontiguousarray(values)
    compiled.count(row, cells.centre, cells.below, cells.edges, cells.halvings, counts)
    return counts


def _leading_halves(values: NDArray[np.float64], centre: float) -> NDArray[np.int64]:
    with np.errstate(over="ignore", under="ignore"):
        distances = (values - centre).astype(np.float32)
    return (distances.view(np.uint32) >> 16).astype(np.int64)


def _places(halves: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cells in the order of their numbers; zero and minus zero are one cell."""
    size = halves & ~_SIGN
    return np.where(halves & _SIGN, _SIGN - size, _SIGN + size)
