"""Rows as columns: what a decoder makes of a batch of events and what window statistics are made of.

Needs NumPy, so the sidecar does not import it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftline.errors import DecodeError

#: float64 with NaN for a missing number.
NumericColumn = NDArray[np.float64]
#: Python strings with None for a missing value.
TextColumn = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class ColumnBatch:
    """Named columns of ``rows`` rows each; a monitor's columns, its prediction, its scores and its segments' columns.

    A column that was absent from a payload is absent here too; statistics count it as missing.
    """

    rows: int
    numeric: Mapping[str, NumericColumn] = field(default_factory=dict)
    text: Mapping[str, TextColumn] = field(default_factory=dict)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "ColumnBatch":
        """The rows that ``index`` (positions or a mask) selects."""
        numeric = {name: values[index] for name, values in self.numeric.items()}
        text = {name: values[index] for name, values in self.text.items()}
        rows = int(np.count_nonzero(index)) if index.dtype == np.bool_ else len(index)
        return ColumnBatch(rows, numeric, text)

    def names(self) -> frozenset[str]:
        """The names of all columns."""
        return frozenset(self.numeric) | frozenset(self.text)


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """The rows of many events of one monitor, one under the other, in the order of the events.

    ``columns``: all rows of all events that could be read. ``events``: for each row its event, as its place in the
    sequence that was decoded; never falling. ``rows``: for each row its place within its request, from 0. ``faults``:
    the events that could not be read, as (place, why), in order; they have no rows. An event that has neither rows nor
    a fault was answered with an error: nothing was predicted.
    """

    columns: ColumnBatch
    events: NDArray[np.intp]
    rows: NDArray[np.intp]
    faults: Sequence[tuple[int, DecodeError]] = ()


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """Predictions beside the labels that arrived for them.

    ``weight`` is +1 for a label that counts from now on and -1 for one taken back (corrected or withdrawn), so that the
    statistics of a window follow corrections exactly. For classification ``prediction`` and ``label`` are strings, for
    regression float64. ``score``: probability of the positive class, NaN where there is none.
    """

    prediction: NDArray[np.object_] | NDArray[np.float64]
    score: NDArray[np.float64]
    label: NDArray[np.object_] | NDArray[np.float64]
    weight: NDArray[np.int64]

    def labelled(self, chosen: NDArray[np.bool_]) -> "JudgedBatch":
        """Those of the chosen rows whose label counts."""
        kept = chosen & (self.weight > 0)
        return JudgedBatch(self.prediction[kept], self.score[kept], self.label[kept], self.weight[kept])
