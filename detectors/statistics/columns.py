"""Several columns of one kind side by side, as matrices: one call of NumPy then serves them all.

Every row of a matrix is a column of the monitor; rows end in zeros where other columns have more bins. A single column
is the case of one row.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Kind
from detectors.statistics.count_passes import cumulated
from detectors.statistics.evidence import ColumnSample, Evidence, fewer_below
from detectors.statistics.worked_out import worked_out
from driftline.results import Direction

#: A test of several columns: evidence of each, in their order.
ColumnsDetector = Callable[["Columns"], "ColumnsEvidence"]


@dataclass(frozen=True, slots=True)
class ColumnsEvidence:
    """What one test found of several columns, shape (columns,) each; a p-value that it does not have is NaN."""

    statistics: NDArray[np.float64]
    p_values: NDArray[np.float64]
    direction: Direction = "larger_is_worse"

    def __getitem__(self, place: int) -> Evidence:
        p_value = float(self.p_values[place])
        return Evidence(float(self.statistics[place]), self.direction, None if math.isnan(p_value) else p_value)

    def __iter__(self) -> Iterator[Evidence]:
        return (self[place] for place in range(len(self.statistics)))


@dataclass(frozen=True, slots=True)
class References:
    """The reference's side of columns of one kind, at least one: what follows from it is worked out once.

    ``samples``: each column beside any window of it. ``counts``, ``below``: rows in each bin, and up to and with it,
    shape (columns, bins). ``bins``: how many bins each column has. ``known``: what else was worked out, by its name.
    """

    samples: tuple[ColumnSample, ...]
    kind: Kind = field(init=False)
    counts: NDArray[np.int64] = field(init=False, repr=False)
    below: NDArray[np.int64] = field(init=False, repr=False)
    bins: NDArray[np.intp] = field(init=False, repr=False)
    rows: NDArray[np.int64] = field(init=False, repr=False)
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counts = side_by_side([sample.reference for sample in self.samples])
        below = counts.cumsum(axis=1)
        object.__setattr__(self, "kind", self.samples[0].kind)
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "below", below)
        object.__setattr__(self, "bins", np.array([len(sample.reference) for sample in self.samples]))
        object.__setattr__(self, "rows", below[:, -1].copy())

    def together(self, rows: NDArray[np.int64]) -> "References":
        """As :meth:`ColumnSample.together`, each column by its own; shape (columns,)."""
        return worked_out(
            self.known,
            ("together", rows.tobytes()),
            lambda: References(
                tuple(sample.together(each) for sample, each in zip(self.samples, rows.tolist(), strict=True))
            ),
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one kind in the reference and in a window; ``current``: rows in each bin, shape (columns, bins).

    Every column has rows on both sides. ``up_to``: what becomes ``below``, where it is known.
    """

    before: References
    current: NDArray[np.int64]
    up_to: InitVar[NDArray[np.int64] | None] = None
    #: Rows up to and with each bin, shape (columns, bins), and of the whole window, shape (columns,).
    below: NDArray[np.int64] = field(init=False, repr=False)
    rows: NDArray[np.int64] = field(init=False, repr=False)
    #: What several statistics ask for and one has worked out: it follows from the counts.
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self, up_to: NDArray[np.int64] | None) -> None:
        below = cumulated(self.current) if up_to is None else up_to
        object.__setattr__(self, "below", below)
        object.__setattr__(self, "rows", below[:, -1].copy())

    @property
    def size(self) -> NDArray[np.float64]:
        """``nm / (n + m)`` of each column."""
        return worked_out(self.known, "size", lambda: harmonic(self.before.rows, self.rows))

    @property
    def scale(self) -> NDArray[np.float64]:
        """``1 / n + 1 / m`` of each column: what chance gives shrinks with it."""
        return worked_out(self.known, "scale", lambda: 1.0 / self.before.rows + 1.0 / self.rows)

    def sample(self, place: int) -> ColumnSample:
        """One of them alone."""
        known = self.before.samples[place]
        return replace(known, current=self.current[place, : self.before.bins[place]])

    def together(self, rows: NDArray[np.int64]) -> "Columns":
        """As :meth:`ColumnSample.together`, each column by its own; shape (columns,)."""
        if (rows <= 1).all():
            return self
        below = fewer_below(self.below, rows, self.before.bins - 1)
        current = below.copy()
        current[:, 1:] -= below[:, :-1]
        return Columns(self.before.together(rows), current, below)


def shares_before(before: References) -> NDArray[np.float64]:
    """The reference's share of rows in each bin, shape (columns, bins)."""
    return worked_out(before.known, "shares", lambda: before.counts / before.rows[:, None])


def shares_now(columns: Columns) -> NDArray[np.float64]:
    """The same of a window."""
    return worked_out(columns.known, "shares", lambda: columns.current / columns.rows[:, None])


def alongside(samples: Sequence[ColumnSample]) -> Columns:
    """Samples of columns of one kind, side by side."""
    return Columns(References(tuple(samples)), side_by_side([sample.current for sample in samples]))


def alone(sample: ColumnSample) -> Columns:
    """One column as the case of one row."""
    return worked_out(sample.known, "alone", lambda: alongside([sample]))


def side_by_side(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Vectors as rows of a matrix, zeros after the shorter ones."""
    found = np.zeros((len(rows), max(map(len, rows))), dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def harmonic(n: NDArray[np.int64], m: NDArray[np.int64]) -> NDArray[np.float64]:
    """``nm / (n + m)``, 0 where both are; in floating numbers, because the product leaves 64 bits."""
    rows: NDArray[np.float64] = n * (m / np.maximum(n + m, 1))
    return rows


def one_by_one(detect: Callable[[ColumnSample], Evidence]) -> ColumnsDetector:
    """A test that looks at one column at a time, for several."""

    def detect_each(columns: Columns) -> ColumnsEvidence:
        found = [detect(columns.sample(place)) for place in range(len(columns.rows))]
        p_values = [math.nan if each.p_value is None else each.p_value for each in found]
        return ColumnsEvidence(np.array([each.statistic for each in found]), np.array(p_values), found[0].direction)

    return detect_each
