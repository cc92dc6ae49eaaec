"""Where each count of a window stands: frozen bins per column, and one whole-number vector for all of them.

Counts merge by addition only when their bins are equal, so a layout has a fingerprint, and counts carry it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA, KERNEL, full_edges, numeric_bins
from detectors.counts.cells import Cells, cells_of
from driftline.monitors import Monitor

Kind = Literal["numeric", "categorical"]

#: Vector positions before the columns' counts: rows, rows with an outlier score, outlier rows.
ROWS, SCORED, OUTLIERS = 0, 1, 2
_HEAD = 3


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The bins of one column.

    ``cuts``: numeric bins' inner edges, ascending (none: all finite values share one bin). ``categories``: the known
    categories in the order of their bins (none: every category is unseen).
    """

    name: str
    kind: Kind
    cuts: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    categories: tuple[str, ...] = ()
    edges: NDArray[np.float64] = field(init=False, repr=False)
    codes: Mapping[str, int] = field(init=False, repr=False)
    bins: int = field(init=False)
    #: What a compiled build looks numbers up in; it follows from the cuts.
    cells: Cells | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        edges = full_edges(self.cuts)
        numeric = self.kind == "numeric"
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "codes", {name: code for code, name in enumerate(self.categories)})
        object.__setattr__(self, "cells", cells_of(edges) if numeric and KERNEL is not None else None)
        object.__setattr__(self, "bins", numeric_bins(edges) if numeric else len(self.categories) + CATEGORICAL_EXTRA)

    @property
    def blank(self) -> bool:
        """True where nothing is expected of the column: it has no cuts and no categories."""
        return len(self.cuts) == 0 and not self.categories


@dataclass(frozen=True, slots=True)
class Layout:
    """All columns of a monitor, inputs first, then the outputs, and their places in the vector.

    The vector: rows, scored rows, outliers, invalid values per column, then each column's bins.
    """

    columns: tuple[ColumnLayout, ...]
    size: int = field(init=False)
    starts: tuple[int, ...] = field(init=False)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        starts, size = [], _HEAD + len(self.columns)
        for column in self.columns:
            starts.append(size)
            size += column.bins
        object.__setattr__(self, "starts", tuple(starts))
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "fingerprint", _fingerprint(self.columns))

    def index(self, column: str) -> int:
        """Position of the column among the columns; raises KeyError."""
        for index, known in enumerate(self.columns):
            if known.name == column:
                return index
        raise KeyError(column)

    def counts(self, vector: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        """The bins of column ``index`` in a vector of this layout (a view)."""
        start = self.starts[index]
        return vector[start : start + self.columns[index].bins]

    def invalid(self, vector: NDArray[np.int64], index: int) -> int:
        """Values of column ``index`` that break the monitor's rules."""
        return int(vector[_HEAD + index])

    @property
    def invalid_at(self) -> slice:
        """Where the invalid values per column stand in the vector."""
        return slice(_HEAD, _HEAD + len(self.columns))


def column_kinds(monitor: Monitor) -> tuple[tuple[str, Kind], ...]:
    """Every column that windows count, watched for drift or not: inputs, what is made of vectors, prediction, score."""
    inputs = tuple((column.name, column.type) for column in monitor.columns)
    return inputs + monitor.distances() + monitor.outputs()


def row_columns(layout: Layout, monitor: Monitor) -> list[ColumnLayout]:
    """The columns that tests of several columns see: inputs with drift tests."""
    watched = {column.name for column in monitor.columns if column.drift}
    return [column for column in layout.columns if column.name in watched]


def blank_layout(monitor: Monitor) -> Layout:
    """The layout of a monitor without a reference: missing, infinite and other values per column, nothing finer.

    Vectors have no distances without one.
    """
    made = {vector.distance for vector in monitor.vectors}
    return Layout(tuple(ColumnLayout(name, kind) for name, kind in column_kinds(monitor) if name not in made))


def _fingerprint(columns: Sequence[ColumnLayout]) -> str:
    digest = hashlib.sha256(b"driftline window counts 1")
    for column in columns:
        digest.update(json.dumps([column.name, column.kind, column.categories]).encode())
        digest.update(np.ascontiguousarray(column.cuts, dtype="<f8").tobytes())
    return digest.hexdigest()[:16]
