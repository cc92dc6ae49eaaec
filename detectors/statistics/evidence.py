"""What a statistic is given and what it gives back. The decision is not here: see ``decision.py``."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Kind
from detectors.statistics.brownian_bridge import AreaNulls
from driftline.results import Direction


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statistic, which way it points, and its p-value under "both samples come from one distribution"."""

    statistic: float
    direction: Direction
    p_value: float | None


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """One column of the reference and of a window, counted on the same bins.

    ``reference``, ``current``: rows per bin, shape (bins,); their sums are above zero. Numeric bins are ordered minus
    infinity, finite values, plus infinity, missing, and ``values`` holds a representative per bin; categorical bins are
    the known ones, unseen, missing, and ``values`` is empty.
    ``groups``: where groups of finite values begin, when known beforehand (see ``tables.py``).
    ``nulls``: simulated areas for the statistics that need them (see ``brownian_bridge.py``).
    """

    column: str
    kind: Kind
    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    categories: tuple[str, ...] = ()
    groups: NDArray[np.intp] | None = None
    nulls: AreaNulls | None = None

    reference_rows: int = field(init=False)
    current_rows: int = field(init=False)
    #: Rows up to and with each bin, shape (bins,).
    below: NDArray[np.int64] = field(init=False, repr=False)
    below_now: NDArray[np.int64] = field(init=False, repr=False)
    #: What several statistics ask for and one has worked out: it follows from the counts.
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        below, below_now = self.reference.cumsum(), self.current.cumsum()
        object.__setattr__(self, "below", below)
        object.__setattr__(self, "below_now", below_now)
        object.__setattr__(self, "reference_rows", int(below[-1]))
        object.__setattr__(self, "current_rows", int(below_now[-1]))

    def together(self, rows: int) -> "ColumnSample":
        """The same shares as if every ``rows`` rows were one: as many as are independent where rows hang together.

        Rounded on the cumulated counts, so that no distribution function moves by more than half a row.
        """
        if rows <= 1:
            return self
        last, each = np.array(len(self.current) - 1), np.array(rows)
        return replace(self, reference=fewer(self.reference, each, last), current=fewer(self.current, each, last))


def fewer(counts: NDArray[np.int64], rows: NDArray[np.int64], last: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts of shape (..., bins) as if every ``rows`` rows were one; where none is left, the ``last`` bin has one.

    ``rows`` and ``last`` have the shape (...).
    """
    return np.diff(fewer_below(np.cumsum(counts, axis=-1), rows, last), prepend=0)


def fewer_below(below: NDArray[np.int64], rows: NDArray[np.int64], last: NDArray[np.intp]) -> NDArray[np.int64]:
    """The same of counts that are cumulated, and are so again."""
    found = np.rint(below / rows[..., None]).astype(np.int64)
    return np.maximum(found, np.arange(below.shape[-1]) >= last[..., None])
