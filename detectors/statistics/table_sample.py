"""What a test of several columns at once is given, and what it gives back.

Two tables of rows are compared as wholes: a change of how columns go together is seen where no column alone moved.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.evidence import Evidence
from driftline.results import Interval


@dataclass(frozen=True, slots=True)
class TableSample:
    """Rows of the reference and of a window, shape (rows, columns) each; missing values are NaN.

    ``embedding``: the columns are coordinates of one vector, whose scale means something and is left as it is. Else
    each column is measured in units of its spread. ``context``: those columns whose mix may change without the rest
    being called changed, for tests that know of such. ``told``: whose the reference rows are; empty: the file's, as
    asked for.
    """

    columns: tuple[str, ...]
    reference: NDArray[np.float64]
    current: NDArray[np.float64]
    embedding: bool = False
    context: tuple[str, ...] = ()
    told: str = ""

    reference_rows: int = field(init=False)
    current_rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_rows", len(self.reference))
        object.__setattr__(self, "current_rows", len(self.current))


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
