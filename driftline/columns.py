"""Rows as columns: what a decoder makes of a batch of events and what window statistics are made of.

Needs NumPy, so the sidecar does not import it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from driftline.errors import DecodeError

#: float64 with NaN for a missing number.
NumericColumn = NDArray[np.float64]
#: Python strings with None for a missing value.
TextColumn = NDArray[np.object_]
#: float64 of shape (rows, dimension); a row of NaN for a missing vector.
VectorColumn = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CodedTexts(Sequence[str | None]):
    """Texts of which most come again and again: each is a place in ``texts``, or -1 for a missing one.

    ``texts`` are all different; some may be of no row.

    >>> column = CodedTexts(["AA", "UA", "DL"], np.array([1, -1, 1, 0], np.int32))
    >>> list(column), column.counts()
    (['UA', None, 'UA', 'AA'], {None: 1, 'AA': 1, 'UA': 2})
    """

    texts: Sequence[str]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "CodedTexts":
        """Texts as they are given."""
        numbers: dict[str | None, int] = {None: -1}
        codes = [numbers.setdefault(value, len(numbers) - 1) for value in values]
        return cls(list(numbers)[1:], np.array(codes, np.int32))  # type: ignore[arg-type] # the first is None

    @classmethod
    def joined(cls, parts: Sequence["CodedTexts"]) -> "CodedTexts":
        """Several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        numbers: dict[str, int] = {}
        codes = []
        for part in parts:
            new = [numbers.setdefault(text, len(numbers)) for text in part.texts]
            codes.append(np.array([*new, -1], np.int32)[part.codes])
        return cls(list(numbers), np.concatenate(codes))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, place: int) -> str | None: ...
    @overload
    def __getitem__(self, place: slice) -> "CodedTexts": ...
    def __getitem__(self, place: int | slice) -> "str | CodedTexts | None":
        if isinstance(place, slice):
            return self.take(place)
        code = int(self.codes[place])
        return None if code < 0 else self.texts[code]

    def __iter__(self) -> Iterator[str | None]:
        return iter(self.objects().tolist())

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "CodedTexts":
        """Those that ``index`` (positions, a mask or a stretch) selects."""
        return CodedTexts(self.texts, self.codes[index])

    def are(self, text: str | None) -> NDArray[np.bool_]:
        """Which are this text, or missing.

        >>> CodedTexts(["AA", "UA"], np.array([1, -1, 0], np.int32)).are("UA").tolist()
        [True, False, False]
        """
        return np.array([*(each == text for each in self.texts), text is None])[self.codes]

    def objects(self) -> TextColumn:
        """The texts themselves, None for a missing one."""
        return np.array([*self.texts, None], np.object_)[self.codes]

    def counts(self) -> dict[str | None, int]:
        """How often each is there that is."""
        found = np.bincount(self.codes + 1, minlength=1).tolist()
        return {text: count for text, count in zip([None, *self.texts], found, strict=False) if count}


@dataclass(frozen=True, slots=True)
class ColumnBatch:
    """Named columns of ``rows`` rows each; a monitor's columns, its prediction, its scores and its segments' columns.

    A column that was absent from a payload is absent here too; statistics count it as missing. ``coded``: columns of
    ``text`` once more, in the form in which each different text is looked at once, where somebody has it. ``vectors``:
    those that the monitor watches as wholes.
    """

    rows: int
    numeric: Mapping[str, NumericColumn] = field(default_factory=dict)
    text: Mapping[str, TextColumn] = field(default_factory=dict)
    coded: Mapping[str, CodedTexts] = field(default_factory=dict, compare=False)
    vectors: Mapping[str, VectorColumn] = field(default_factory=dict)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "ColumnBatch":
        """The rows that ``index`` (positions or a mask) selects."""
        numeric = {name: values[index] for name, values in self.numeric.items()}
        text = {name: values[index] for name, values in self.text.items()}
        coded = {name: values.take(index) for name, values in self.coded.items()}
        vectors = {name: values[index] for name, values in self.vectors.items()}
        rows = int(np.count_nonzero(index)) if index.dtype == np.bool_ else len(index)
        return ColumnBatch(rows, numeric, text, coded, vectors)

    def names(self) -> frozenset[str]:
        """The names of all columns."""
        return frozenset(self.numeric) | frozenset(self.text) | frozenset(self.vectors)


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """The rows of many events of one monitor, stacked in the order of the events.

    ``columns``: all rows of all events that could be read. ``events``: for each row its event, as its place in the
    sequence that was decoded; never falling. ``rows``: for each row its place within its request, from 0. ``faults``:
    the events that could not be read, as (place, why), in order; they have no rows. An event that has neither rows nor
    a fault was answered with an error: nothing was predicted.
    """

    columns: ColumnBatch
    events: NDArray[np.intp]
    rows: NDArray[np.intp]
    faults: Sequence[tuple[int, DecodeError]] = ()


#: Classes as they are spelt, None where there is none, or numbers.
JudgedColumn: TypeAlias = NDArray[np.object_] | NDArray[np.float64] | CodedTexts


def each_judged(values: JudgedColumn) -> NDArray[np.object_] | NDArray[np.float64]:
    """Such a column, value by value."""
    return values.objects() if isinstance(values, CodedTexts) else values


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """Predictions beside the labels that arrived for them.

    ``weight`` is +1 for a label that counts from now on and -1 for one taken back (corrected or withdrawn), so that the
    statistics of a window follow corrections exactly. For classification ``prediction`` and ``label`` are strings, for
    regression and ranking float64. ``score``: probability of the positive class, NaN where there is none.

    ``query``: of a ranking, each candidate's query as a number; then all candidates of a query are here, those without
    a label with the label NaN. A query of which anything changed is here twice: as it was (-1), and as it is (+1).
    """

    prediction: JudgedColumn
    score: NDArray[np.float64]
    label: JudgedColumn
    weight: NDArray[np.int64]
    query: NDArray[np.int64] | None = None

    def labelled(self, chosen: NDArray[np.bool_]) -> "JudgedBatch":
        """Those of the chosen rows whose label counts."""
        return self.take(chosen & (self.weight > 0))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "JudgedBatch":
        """Some of the rows."""
        query = None if self.query is None else self.query[rows]
        said, labels = _some(self.prediction, rows), _some(self.label, rows)
        return JudgedBatch(said, self.score[rows], labels, self.weight[rows], query)


def _some(values: JudgedColumn, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> JudgedColumn:
    return values.take(rows) if isinstance(values, CodedTexts) else values[rows]
