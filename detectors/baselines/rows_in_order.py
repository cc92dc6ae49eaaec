"""What reference rows say of each other: how many of a column hang together, from the order that they come in.

And of rows as wholes, where they are tested: along their principal directions, which may hang together where no column
does much, and in how far they are from the plane that most of them lie in.

Twice, where windows are compared with the same hours: beside the whole file, whose hours differ, and beside the same
hours of other weeks, which what comes again every week is no reason to differ from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from detectors.counts.comparable_rows import comparable
from detectors.counts.layout import ColumnLayout, Layout, row_columns
from detectors.counts.vectors import vectors
from detectors.statistics.hanging_directions import MOST, HangingDirections, hanging_directions, rest_of
from detectors.statistics.hanging_rows import Blocks, for_windows, rows_together, rows_together_along
from detectors.statistics.principal_plane import directions_of, residuals_of
from detectors.statistics.weekly_rows import ClockTimes, WeeklyRows
from driftline.columns import CodedTexts, ColumnBatch, JudgedBatch, each_judged
from driftline.monitors import Monitor

#: Rows that are looked at, from the first on; for two weeks of them more are.
_MOST_ROWS, _MOST_IN_WEEKS = 100_000, 500_000
#: Categories whose coming and going is followed, the most frequent ones.
_CATEGORIES = 16
#: Directions that a vector is followed along, at random.
_DIRECTIONS, _DIRECTIONS_SEED = 8, 20083
_MIDDLE = 0.5
_NAMED, _NAMED_WHOLE, _NAMED_DIRECTIONS = "together/", "together whole/", "together along/"
_IN_SEASON = "in season "
_OF_DIRECTIONS = ("units", "weights", "by_size", "freedom")
_NOBODY_ASKED = np.ones((2, 1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TogetherRows:
    """Rows of a segment that say as much as one, by the rows of a window; see ``statistics/hanging_rows.py``.

    ``by_size``: of every column of the layout, shape (columns + 1, sizes); the last one is of the model's losses. 0:
    the rows' order says nothing. ``whole``: the same of rows as wholes, shape (3, sizes): along columns and principal
    directions; of their distance from the plane that they lie in; and, as the first, but for ``directions``, which are
    told by themselves, over all places of ``vectors``. Of one size where no test of several columns was asked for, or
    the file is older; of two rows in older files.

    ``in_season``: the same beside the same hours of other weeks, where no direction is told by itself; None where no
    window is compared with these, the rows do not tell it, or the file is older.
    """

    by_size: NDArray[np.int64]
    whole: NDArray[np.int64] = field(default_factory=_NOBODY_ASKED.copy)
    directions: HangingDirections = field(default_factory=HangingDirections)
    in_season: "TogetherRows | None" = None

    @property
    def beside_same_hours(self) -> "TogetherRows":
        """For windows that are compared with others of the same hours; the whole file's where that is not known."""
        return self.in_season or self

    def of_columns(self, rows: int) -> NDArray[np.int64]:
        """Of every column in a window of so many rows, shape (columns,); 1: independent, or not known."""
        return for_windows(self.by_size[:-1], rows)

    def of_directions(self, rows: int) -> int:
        """Of rows as wholes in a window of so many, along the column or direction in which it is most."""
        return int(for_windows(self.whole[0], rows))

    def of_rest(self, rows: int) -> int:
        """Of rows as wholes, but for ``directions``."""
        return int(for_windows(self.whole[2 if len(self.whole) > 2 else 0], rows))

    @property
    def knows_directions(self) -> bool:
        """Whether rows as wholes were looked at."""
        return bool(self.whole.shape[1] > 1)

    @property
    def most_of_directions(self) -> int:
        """Of rows as wholes, of windows as large as can be known."""
        return self.of_directions(1 << self.whole.shape[1])

    def of_plane(self, rows: int) -> int:
        """Of rows' distances from the plane that most of them lie in."""
        return int(for_windows(self.whole[1], rows))

    def of_losses(self) -> int:
        """Of right and wrong predictions, of windows as large as can be known."""
        return int(for_windows(self.by_size[-1], 1 << self.by_size.shape[1]))

    @property
    def most(self) -> NDArray[np.int64]:
        """Of every column, of windows as large as can be known, shape (columns,)."""
        return for_windows(self.by_size[:-1], 1 << self.by_size.shape[1])

    @property
    def untold(self) -> NDArray[np.bool_]:
        """Of which columns the order says nothing: they are sorted, or change more slowly than the file is long."""
        return np.asarray(self.by_size[:-1, 0] == 0)


def compares_same_hours(monitor: Monitor) -> bool:
    """Whether a monitor's windows are compared with others of the same hours of a week, while there are some."""
    return monitor.reference is not None and monitor.reference.baseline in ("seasonal", "variant")


#: Of no column, and of rows as wholes that nobody asked for.
NOT_ASKED = TogetherRows(np.ones((1, 1), dtype=np.int64))


@dataclass(frozen=True, slots=True)
class InOrder:
    """Rows of a reference in an order: ``places``, that of their times in ``seconds``, or (None) as they lie."""

    rows: ColumnBatch
    judged: JudgedBatch | None
    places: NDArray[np.intp]
    seconds: NDArray[np.float64] | None

    @classmethod
    def of(cls, rows: ColumnBatch, judged: JudgedBatch | None, seconds: NDArray[np.float64] | None) -> "InOrder":
        """``seconds``: when each row was, where that is known."""
        places = np.arange(rows.rows) if seconds is None else np.argsort(seconds, kind="stable")
        return cls(rows, judged, places, seconds)

    def together(
        self, layout: Layout, monitor: Monitor, segments: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, TogetherRows]:
        """Of every segment."""
        asked = (len(monitor.watched()) + 1) * len(segments)
        return {name: self._of(layout, monitor, chosen, asked) for name, chosen in segments.items()}

    def _of(self, layout: Layout, monitor: Monitor, chosen: NDArray[np.bool_], asked: int) -> TogetherRows:
        places = self.places[chosen[self.places]]
        first = places[:_MOST_ROWS]
        found = self._seen(layout, monitor, first, Blocks.of(len(first)), asked)
        if self.seconds is None or monitor.reference is None or not compares_same_hours(monitor):
            return found
        times, window_s = ClockTimes.of(self.seconds[places], monitor.reference.time_zone), monitor.windows.size
        recurring = times.recurring(window_s, enough=_MOST_ROWS, most=_MOST_IN_WEEKS)
        if recurring is None:
            return found
        blocks = Blocks.of(len(recurring), WeeklyRows.of(times.take(recurring), window_s))
        return replace(found, in_season=self._seen(layout, monitor, places[recurring], blocks, asked))

    def _seen(
        self, layout: Layout, monitor: Monitor, places: NDArray[np.intp], blocks: Blocks, asked: int
    ) -> TogetherRows:
        count = len(blocks.sizes)
        by_size = np.ones((len(layout.columns) + 1, count), dtype=np.int64)
        of_vectors = {vector.distance: vector.name for vector in monitor.vectors}
        for index, column in enumerate(layout.columns):
            if not column.blank:
                followed = [
                    *_followed(self.rows, column, places),
                    *_directions(self.rows, of_vectors.get(column.name), places),
                ]
                by_size[index] = rows_together(followed, asked, blocks=blocks, in_time=self._in_time)
        # Accuracy is compared with that of the whole file, whatever the hour.
        losses = None if self.judged is None else _losses(self.judged.take(places))
        if losses is not None:
            found = rows_together([losses], asked, in_time=self._in_time)
            by_size[-1] = found[np.minimum(np.arange(count), len(found) - 1)]
        return TogetherRows(by_size, *self._whole(layout, monitor, places, blocks, asked))

    @property
    def _in_time(self) -> bool:
        return self.seconds is not None

    def _whole(
        self, layout: Layout, monitor: Monitor, places: NDArray[np.intp], blocks: Blocks, asked: int
    ) -> tuple[NDArray[np.int64], HangingDirections]:
        columns = row_columns(layout, monitor)
        if not columns or not monitor.detectors.multivariate:
            return _NOBODY_ASKED.copy(), HangingDirections()
        rows = vectors(columns, self.rows.take(places))
        values, _ = comparable(rows)
        along = directions_of(values)
        along = along / along.std(axis=0)
        of_columns = [each for column in columns for each in _followed(self.rows, column, places)]
        asked += along.shape[1] + len(of_columns) + 1
        directions = rows_together_along(along, of_columns, asked, blocks=blocks, in_time=self._in_time)
        away = stats.rankdata((residuals_of(values, values) ** 2).sum(axis=1).round(9))[:, None]
        plane = rows_together([away], asked, blocks=blocks, in_time=self._in_time)
        # What of the features' spread a direction explains is known of the whole file only.
        told_apart = blocks.weekly is None
        found = hanging_directions(rows, asked, in_time=self._in_time) if told_apart else HangingDirections()
        rest = directions
        if 0 < len(found) < MOST:
            left = rest_of(rows, found)
            others = [*np.square(left).T, *(gone.astype(np.float64) for gone in np.isnan(rows).T if gone.any())]
            rest = rows_together_along(left, [each[:, None] for each in others], asked, in_time=self._in_time)
        return np.array([directions, np.maximum(plane, _of_squares(directions)), rest]), found


def _of_squares(as_one: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many count as one at least of squares of what ``as_one`` do, by size: the square of normal numbers hangs
    together by the square of their correlation, and the mean square of correlations is no less than their squared mean.

    It is known better so than from the squares where days differ a little, and the days are few.
    """
    pairs = np.maximum((1 << np.arange(len(as_one), dtype=np.int64)) - 1, 1)
    return np.where(as_one > 1, np.rint(1.0 + (as_one - 1.0) ** 2 / pairs), as_one).astype(np.int64)


def _followed(rows: ColumnBatch, column: ColumnLayout, places: NDArray[np.intp]) -> Iterator[NDArray[np.float64]]:
    """What is followed of a column: where numbers stand, how far out they are, and what is missing; categories."""
    if column.kind == "numeric":
        values = np.asarray(rows.numeric[column.name], dtype=np.float64)[places]
        missing = np.isnan(values)
        ranks = np.full(len(values), _MIDDLE)
        ranks[~missing] = (stats.rankdata(values[~missing]) - _MIDDLE) / max(np.count_nonzero(~missing), 1)
        yield ranks[:, None]
        yield np.abs(ranks - _MIDDLE)[:, None]
        if missing.any():
            yield missing[:, None].astype(np.float64)
        return
    known = rows.coded.get(column.name)
    codes = (CodedTexts.of(rows.text[column.name].tolist()) if known is None else known).codes[places]
    frequent = np.argsort(-np.bincount(codes + 1, minlength=1), kind="stable")[:_CATEGORIES] - 1
    yield (codes[:, None] == frequent[None, :]).astype(np.float64)


def _directions(rows: ColumnBatch, vector: str | None, places: NDArray[np.intp]) -> Iterator[NDArray[np.float64]]:
    """Where vectors stand along some directions; what is missing stands in the middle."""
    if vector is None:
        return
    values = rows.vectors[vector][places]
    weights = np.random.default_rng(_DIRECTIONS_SEED).normal(size=(values.shape[1], _DIRECTIONS))
    with np.errstate(invalid="ignore"):
        along: NDArray[np.float64] = values @ weights
        known = np.isfinite(along.sum(axis=1))
    middle = along[known].mean(axis=0) if known.any() else np.zeros(_DIRECTIONS)
    yield np.where(known[:, None], along, middle)


def _losses(judged: JudgedBatch) -> NDArray[np.float64] | None:
    """How wrong each labelled prediction was, shape (rows, 1): 0 or 1, or its error's rank; None of rankings."""
    if judged.query is not None:
        return None
    known = judged.weight > 0
    prediction, label = each_judged(judged.prediction)[known], each_judged(judged.label)[known]
    if prediction.dtype.kind == "f":
        errors = np.nan_to_num(np.abs(np.asarray(prediction - label, dtype=np.float64)))
        return np.asarray(stats.rankdata(errors) / max(len(errors), 1))[:, None]
    return np.asarray(prediction != label, dtype=np.float64)[:, None]


def arrays_of(known: Mapping[str, TogetherRows]) -> dict[str, NDArray[Any]]:
    """As arrays of a file, by name."""
    found: dict[str, NDArray[Any]] = {}
    for name, each in known.items():
        found |= {f"{_NAMED}{name}": each.by_size, f"{_NAMED_WHOLE}{name}": each.whole}
        if len(each.directions):
            found |= {f"{_NAMED_DIRECTIONS}{part}/{name}": getattr(each.directions, part) for part in _OF_DIRECTIONS}
        if (season := each.in_season) is not None:
            found |= {f"{_IN_SEASON}{_NAMED}{name}": season.by_size, f"{_IN_SEASON}{_NAMED_WHOLE}{name}": season.whole}
    return found


def read_together(arrays: Mapping[str, NDArray[Any]], segments: Sequence[str]) -> dict[str, TogetherRows]:
    """What :func:`arrays_of` wrote; nothing of what was not asked yet when the file was built."""
    return {name: _read(arrays, name) for name in segments if f"{_NAMED}{name}" in arrays}


def _read(arrays: Mapping[str, NDArray[Any]], name: str) -> TogetherRows:
    whole = arrays.get(f"{_NAMED_WHOLE}{name}", _NOBODY_ASKED)
    known, season = (
        TogetherRows(arrays[f"{_NAMED}{name}"], whole, _directions_in(arrays, name)),
        f"{_IN_SEASON}{_NAMED}",
    )
    if f"{season}{name}" not in arrays:
        return known
    return replace(
        known, in_season=TogetherRows(arrays[f"{season}{name}"], arrays[f"{_IN_SEASON}{_NAMED_WHOLE}{name}"])
    )


def _directions_in(arrays: Mapping[str, NDArray[Any]], segment: str) -> HangingDirections:
    names = [f"{_NAMED_DIRECTIONS}{part}/{segment}" for part in _OF_DIRECTIONS]
    return HangingDirections(*(arrays[name] for name in names)) if names[0] in arrays else HangingDirections()
