"""Files instead of traffic: the same counts, statistics and decisions, over rows that are read in pieces.

Rows are counted into window states exactly as the collector has them counted, so that a file and the same rows as
traffic give the same results. Memory is that of one piece, whatever the file's size.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from detectors.baselines.history import KeptWindows
from detectors.baselines.reference import Reference
from detectors.counts.frame_times import seconds_of
from detectors.counts.frames import (
    CSV,
    PARQUET,
    distinct_header,
    distinct_names,
    judged_rows,
    load_frame,
    query_column,
    reading,
    separated,
    window_rows,
)
from detectors.counts.row_samples import RowSamples
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.accuracy_streams import OrderedAccuracy
from detectors.evaluating.accuracy_tests import AccuracyTests
from detectors.evaluating.control import KeptPValues, level_of
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluated, Evaluator, default_bridge
from detectors.evaluating.job import evaluate_states, expecting, read_states
from detectors.evaluating.row_tables import LabelledRows, TableOfWindow, beside, no_labelled_rows, no_table
from detectors.evaluating.sequential import SequentialTests, with_sequential
from detectors.evaluating.streams import OrderedFolds
from detectors.evaluating.table_catalogue import needs_rows
from detectors.statistics.table_sample import TableSample
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.event_windows import windows_of
from driftline.monitors import Monitor
from driftline.result_columns import joined
from driftline.results import (
    ALL_ROWS,
    WHOLE_WINDOW,
    ColumnShape,
    Result,
    SamplePayload,
    StreamKey,
    Verdict,
    WindowKey,
)

PIECE_ROWS = 100_000
_BUFFER_BYTES = 1024 * 1024
#: Sample rows kept of each window: the largest outlier scores.
SAMPLES = 8
#: A row's score, its number below zero (so that earlier rows come first among equals), and what is shown of it.
Sampled = tuple[float, int, SamplePayload]
#: Told how many rows are done, and of how many (None: unknown).
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Span:
    """Which windows rows belong to: by a column of times, or all to one from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    time_column: str | None = None


@dataclass(frozen=True, slots=True)
class OfflineResults:
    """What the rows gave: results and shapes by window, and per window the rows furthest from the reference."""

    results: tuple[Result, ...]
    shapes: Mapping[WindowKey, Sequence[ColumnShape]]
    samples: Mapping[tuple[float, float], tuple[SamplePayload, ...]]
    rows: int


@dataclass(slots=True)
class OfflineWindows:
    """Counts pieces of a frame into windows, then evaluates them. One object for one file."""

    monitor: Monitor
    reference: Reference
    stream: StreamKey
    span: Span
    rows: int = 0
    _engine: StatisticsEngine = field(init=False)
    _tables: RowSamples | None = field(init=False, default=None)
    _states: dict[WindowKey, bytes] = field(default_factory=dict)
    _samples: dict[tuple[float, float], list[Sampled]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._engine = StatisticsEngine({self.monitor.name: self.reference})
        if self.reference.rows and needs_rows(self.monitor.detectors.multivariate):
            self._tables = RowSamples(self.reference.row_columns(self.monitor), self.monitor.detectors.kept_rows)

    def add(self, frame: pd.DataFrame, numbers: NDArray[np.int64] | None = None) -> None:
        """Count a piece; raises ReferenceDataError naming every column that cannot be used.

        ``numbers``: the rows' places in the whole, where pieces do not follow each other.
        """
        if numbers is None:
            numbers = np.arange(self.rows, self.rows + len(frame))
        rows = window_rows(frame, self.monitor)
        judged = judged_rows(frame, rows, self.monitor)
        scores = self._engine.outlier_scores(self.monitor, rows)
        starts, ends = self._windows(frame)
        for start_s, end_s in sorted(set(zip(starts.tolist(), ends.tolist(), strict=True))):
            window = starts == start_s
            for segment, chosen in self._segments(rows, window):
                key = WindowKey(self.stream, segment, start_s, end_s)
                taken = rows if chosen.all() else rows.take(chosen)
                self._count(key, taken, scores[chosen], None if judged is None else judged.take(chosen))
                if self._tables is not None:
                    self._tables.add(key, taken, numbers[chosen])
            self._keep_samples((start_s, end_s), rows, judged, scores, np.flatnonzero(window), numbers)
        self.rows += rows.rows

    def evaluate(self) -> OfflineResults:
        """Evaluate every window, the oldest first."""
        results: list[Result] = []
        shapes = {}
        evaluator = Evaluator(self.monitor, self.reference, default_bridge())
        for key, found in evaluate_in_order(evaluator, self.states(), self.table):
            results.extend(found.results)
            shapes[key] = found.shapes
        samples = {span: tuple(sample for _, _, sample in kept) for span, kept in self._samples.items()}
        return OfflineResults(tuple(results), shapes, samples, self.rows)

    def table(self, key: WindowKey, baseline: Sequence[WindowKey]) -> TableSample | None:
        """Rows of a window beside those of its baseline, or (none) the reference's; None where no detector asks for
        any, or none are kept.
        """
        if self._tables is None:
            return None
        before = self._tables.rows(*baseline) if baseline else None
        return beside(self.monitor, self.reference, key.segment, self._tables.rows(key), before)

    def include(self, key: WindowKey, state: bytes) -> None:
        """Add what somebody else counted of a window."""
        known = self._states.get(key)
        parts = [WindowState.from_bytes(part) for part in (known, state) if part is not None]
        self._states[key] = merge(parts).to_bytes()

    def include_samples(self, span: tuple[float, float], samples: Sequence[Sampled]) -> None:
        """Keep the rows furthest from the reference, of those that are kept and these."""
        kept = self._samples.setdefault(span, [])
        kept[:] = heapq.nlargest(SAMPLES, [*kept, *samples], key=lambda entry: entry[:2])

    def sampled(self) -> dict[tuple[float, float], list[Sampled]]:
        """The rows furthest from the reference so far, by window."""
        return self._samples

    def states(self) -> dict[WindowKey, tuple[bytes, ...]]:
        """What was counted so far, as a store would have it."""
        return {key: (state,) for key, state in self._states.items()}

    def _windows(self, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The start and the end of each row's window."""
        name = self.span.time_column
        if name is None:
            return np.full(len(frame), self.span.start_s), np.full(len(frame), self.span.end_s)
        return windows_of(seconds_of(frame, name), self.monitor.windows.size)

    def _segments(self, rows: ColumnBatch, window: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The segments that the reference knows, each with its rows of a window."""
        for segment in self.reference.counts:
            if segment == ALL_ROWS:
                yield segment, window
                continue
            column, _, value = segment.partition("=")
            chosen = window & (rows.text[column] == value)
            if chosen.any():
                yield segment, chosen

    def _count(
        self, key: WindowKey, rows: ColumnBatch, scores: NDArray[np.float64], judged: JudgedBatch | None
    ) -> None:
        state = self._engine.observe(self.monitor, self._states.get(key), rows, scores)
        if judged is not None and judged.weight.any():
            # Columns explain a change of all rows; segments have their own.
            every = key.segment == ALL_ROWS
            labelled = judged.labelled(np.ones(rows.rows, dtype=bool))
            state = (
                self._engine.judge_rows(self.monitor, state, rows, judged)
                if every
                else self._engine.judge(self.monitor, state, labelled)
            )
        self._states[key] = state

    def _keep_samples(
        self,
        span: tuple[float, float],
        rows: ColumnBatch,
        judged: JudgedBatch | None,
        scores: NDArray[np.float64],
        places: NDArray[np.intp],
        numbers: NDArray[np.int64],
    ) -> None:
        kept = []
        known = places[~np.isnan(scores[places])]
        for place in known[np.argsort(-scores[known], kind="stable")[:SAMPLES]]:
            number = int(numbers[place])
            sample = _sample(self.monitor, rows, judged, float(scores[place]), int(place), number)
            kept.append((float(scores[place]), -number, replace(sample, time_s=span[0])))
        self.include_samples(span, kept)


def evaluate_in_order(
    evaluator: Evaluator,
    states: Mapping[WindowKey, Sequence[bytes]],
    table: TableOfWindow = no_table,
    labelled: LabelledRows = no_labelled_rows,
) -> Iterator[tuple[WindowKey, Evaluated]]:
    """Every window with what it gave, the oldest first, each against the baseline that it would have had then.

    ``table``: rows of a window beside those it is compared with, where there are some. ``labelled``: labelled rows, for
    windows whose counts do not say on which columns' values the model was right.
    """
    history, tested = KeptWindows(states), KeptPValues()
    folds = OrderedFolds(SequentialTests(evaluator.monitor, evaluator.reference))
    accuracy = OrderedAccuracy(AccuracyTests(evaluator.monitor, evaluator.reference))
    for key in sorted(states, key=lambda key: (key.start_s, key.stream, key.segment)):
        level = level_of(evaluator.monitor, evaluator.reference, key, tested)
        part = partial(_part, evaluator, states, key)
        expected, baseline = expecting(evaluator, key, history)
        found = evaluate_states(expected, key, states[key], level, table(key, baseline), part, labelled)
        tested.keep(key, found.results)
        state = read_states(evaluator, key, states[key])
        sequential = folds.next(key, evaluator.counts(state))
        told = with_sequential(found.results, sequential, evaluator.monitor.detectors.drifted_columns)
        found = replace(found, results=joined(key, (told, accuracy.next(key, evaluator.judged(state)))))
        history.verdicts[key] = window_verdict(found.results)
        yield key, found


def _part(
    evaluator: Evaluator, states: Mapping[WindowKey, Sequence[bytes]], key: WindowKey, segment: str
) -> WindowState:
    of_segment = replace(key, segment=segment)
    return read_states(evaluator, of_segment, states.get(of_segment, ()))


def window_verdict(results: Sequence[Result]) -> Verdict:
    """The verdict on the whole window's drift."""
    whole = (result.verdict for result in results if result.kind == "drift" and result.column == WHOLE_WINDOW)
    return next(whole, Verdict.NOT_ENOUGH_EVIDENCE)


def pieces(source: Path | pd.DataFrame, rows: int = PIECE_ROWS) -> Iterator[pd.DataFrame]:
    """A frame, a Parquet or a CSV file in pieces; raises ReferenceDataError naming the file and the trouble."""
    if isinstance(source, pd.DataFrame):
        for start in range(0, len(source), rows):
            yield source.iloc[start : start + rows]
        return
    if not source.is_file() or source.suffix not in (*PARQUET, *CSV):
        load_frame(source)  # says what is wrong with it
    read = _parquet_pieces(source, rows) if source.suffix in PARQUET else map(separated, _csv_pieces(source, rows))
    with reading(source):
        yield from read


def _parquet_pieces(source: Path, rows: int) -> Iterator[pd.DataFrame]:
    # Unless told so, Arrow reads a row group as a whole, and often a file is one.
    file = pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    distinct_names(file.schema_arrow.names)
    for batch in file.iter_batches(rows, use_threads=False):
        yield batch.to_pandas()


def _csv_pieces(source: Path, rows: int) -> Iterator[pd.DataFrame]:
    distinct_header(source)
    yield from pd.read_csv(source, chunksize=rows)


def whole_queries(found: Iterable[pd.DataFrame], monitor: Monitor) -> Iterator[pd.DataFrame]:
    """The pieces cut anew, so that no query of a ranking is cut in two; of other tasks, as they are.

    Raises ReferenceDataError where rows do not say their query.
    """
    if monitor.task != "ranking":
        yield from found
        return
    held: pd.DataFrame | None = None
    for piece in found:
        rows = piece if held is None else pd.concat([held, piece], ignore_index=True)
        query = query_column(rows, monitor).to_numpy()
        begins = np.flatnonzero(query[1:] != query[:-1])
        cut = int(begins[-1]) + 1 if len(begins) else 0
        if cut:
            yield rows.iloc[:cut]
        held = rows.iloc[cut:]
    if held is not None and len(held):
        yield held


def row_count(source: Path | pd.DataFrame) -> int | None:
    """How many rows there are; None where only reading would tell. Raises ReferenceDataError for a damaged file."""
    if isinstance(source, pd.DataFrame):
        return len(source)
    if source.is_file() and source.suffix in PARQUET:
        with reading(source):
            return int(pq.read_metadata(source).num_rows)
    return None


def _sample(
    monitor: Monitor, rows: ColumnBatch, judged: JudgedBatch | None, score: float, place: int, number: int
) -> SamplePayload:
    columns: dict[str, str | float | None] = {}
    for column in monitor.columns:
        if column.name in rows.numeric:
            value = float(rows.numeric[column.name][place])
            columns[column.name] = None if np.isnan(value) else value
        elif column.name in rows.text:
            columns[column.name] = rows.text[column.name][place]
    name = monitor.prediction.column
    said = rows.text.get(name, rows.numeric.get(name))
    label = judged.label[place] if judged is not None and judged.weight[place] > 0 else None
    return SamplePayload(
        request_id=f"row {number}",
        row=0,
        time_s=0.0,
        prediction="" if said is None else str(said[place]),
        label=None if label is None or label != label else str(label),  # noqa: PLR0124 - NaN: a candidate without one
        outlier_score=score,
        columns=columns,
    )
