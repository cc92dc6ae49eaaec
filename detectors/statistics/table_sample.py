"""What a test of several columns at once is given, and what it gives back.

Two tables of rows are compared as wholes: a change of how columns go together is seen where no column alone moved.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import Evidence
from detectors.statistics.hanging_directions import NO_DIRECTIONS, HangingDirections
from driftline.results import Interval


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where a table's rows come from: drawn by chance from ``rows`` neighbours, of which ``as_one`` say as much as one.

    ``rows``: none where they are all there were. ``as_one``: 1 where rows are independent. ``along``: the same along
    each of the table's directions that hang together more than the rest.
    """

    rows: int = 0
    as_one: int = 1
    along: tuple[int, ...] = ()

    def inflation(self, drawn: int) -> float:
        """How many times as much a mean of so many of the rows varies as that of independent rows (Kish's effect of a
        design): two that were drawn are as alike as any two of all are.

        >>> Drawn(1000, 20).inflation(1000), Drawn(10_000, 19).inflation(1000), Drawn(1000).inflation(100)
        (20.0, 2.798..., 1.0)
        """
        of = max(self.rows, drawn)
        return 1.0 + (min(self.as_one, of) - 1.0) * (drawn - 1.0) / max(of - 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class TableSample:
    """Rows of the reference and of a window, shape (rows, columns) each; missing values are NaN.

    ``embedding``: the columns are coordinates of one vector, whose scale means something and is left as it is. Else
    each column is measured in units of its spread. ``context``: those columns whose mix may change without the rest
    being called changed, for tests that know of such. ``told``: whose the reference rows are; empty: the file's, as
    asked for. ``reference_drawn``, ``current_drawn``: how many rows either side's were drawn from, and how many of
    those hang together, for tests that know of such. ``directions``: along which they hang together more than the rest
    does, and, ``freedom``, from how many independent squares that is known of each, shape (directions,).
    """

    columns: tuple[str, ...]
    reference: NDArray[np.float64]
    current: NDArray[np.float64]
    embedding: bool = False
    context: tuple[str, ...] = ()
    told: str = ""
    reference_drawn: Drawn = Drawn()
    current_drawn: Drawn = Drawn()
    directions: HangingDirections = NO_DIRECTIONS
    freedom: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    reference_rows: int = field(init=False)
    current_rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_rows", len(self.reference))
        object.__setattr__(self, "current_rows", len(self.current))

    def worth(self, n: int, m: int) -> float:
        """How many independent rows so many of reference and window are worth in all."""
        return n / self.reference_drawn.inflation(n) + m / self.current_drawn.inflation(m)

    def inflation(self, n: int, m: int) -> float:
        """How many times as much a mean of ``n`` reference rows less one of ``m`` of the window varies as if all rows
        were independent; 1 where they are.
        """
        return _apart(self.reference_drawn, self.current_drawn, n, m)

    def inflation_along(self, n: int, m: int) -> NDArray[np.float64]:
        """The same along each of ``directions``, shape (directions,)."""
        drawn = (self.reference_drawn, self.current_drawn)
        each = zip(*([Drawn(side.rows, as_one) for as_one in side.along] for side in drawn), strict=True)
        return np.array([_apart(before, now, n, m) for before, now in each])


def _apart(before: Drawn, now: Drawn, n: int, m: int) -> float:
    return (before.inflation(n) / n + now.inflation(m) / m) / (1.0 / n + 1.0 / m)


@dataclass(frozen=True, slots=True)
class Telling:
    """A column and how much of what was found it tells, as a share; all shares of a finding sum to one."""

    column: str
    share: float


def telling(names: tuple[str, ...], moved: NDArray[np.float64]) -> tuple[Telling, ...]:
    """Columns by how much of all movement is theirs, the most telling first.

    >>> telling(("a", "b", "c"), np.array([1.0, 3.0, 0.0]))
    (Telling(column='b', share=0.75), Telling(column='a', share=0.25))
    """
    if not moved.sum() > 0.0:
        return ()
    shares = moved / moved.sum()
    order = np.argsort(-shares, kind="stable")
    return tuple(Telling(names[place], float(shares[place])) for place in order if shares[place] > 0.0)


@dataclass(frozen=True, slots=True)
class TableEvidence:
    """What a test of tables found.

    ``effect`` says the same for every test: a lower bound of the total variation distance, so that at least this share
    of the rows comes from elsewhere; its interval is of 95 %. None where the statistic bounds nothing. ``telling``: the
    columns that tell the tables apart, the most telling first, where the test knows them. ``device``: where it was
    worked out; empty: the host.
    """

    evidence: Evidence
    effect: Interval | None = None
    telling: tuple[Telling, ...] = ()
    device: str = ""


#: There are too few rows, or nothing in them, to compare.
NOTHING = TableEvidence(Evidence(0.0, "larger_is_worse", None))
