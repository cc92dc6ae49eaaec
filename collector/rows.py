"""Prediction rows as the store keeps them, and what they count for, out of one monitor's decoded events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.assemble import concatenate
from collector.database import clean, key_text
from collector.intake import Arrival
from collector.predictions import PredictionColumns
from collector.row_columns import RowLayout, pack
from collector.transaction import TotalKey, WindowRef, total
from collector.validation import Validation, validate
from collector.values import class_name, number_text
from collector.windows import group_positions, segments_of_rows, window_of
from driftline import names
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one partition that share stream and window, and so every statistic; ``rows``: their positions."""

    partition: str
    stream: StreamKey
    window: WindowRef
    rows: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class MonitorRows:
    """All rows that one batch brings for one monitor.

    ``owners``: each row's event, as its place in ``arrivals``; ``windows``: each event's window of all rows.
    """

    monitor: Monitor
    arrivals: Sequence[Arrival]
    columns: ColumnBatch
    owners: NDArray[np.intp]
    windows: Sequence[WindowRef]
    groups: Sequence[Group]
    segments: Sequence[tuple[str, ...]]
    segment_rows: Mapping[str, NDArray[np.intp]]
    validation: Validation

    def states(self) -> list[tuple[str, WindowRef, NDArray[np.intp]]]:
        """Every (partition, window, rows) whose statistics change: each group, whole and by segment."""
        found = []
        for group in self.groups:
            found.append((group.partition, group.window, group.rows))
            for segment, rows in self.segment_rows.items():
                inside = rows if len(self.groups) == 1 else np.intersect1d(rows, group.rows, assume_unique=True)
                if len(inside):
                    found.append((group.partition, group.window._replace(segment=segment), inside))
        return found

    def totals(self) -> dict[str, Counter[TotalKey]]:
        """Counters by partition: rows that pass and fail, and each broken rule."""
        counts: dict[str, Counter[TotalKey]] = {}
        for group in self.groups:
            stream = (group.stream.namespace, group.stream.model, group.stream.version, group.stream.variant)
            passed = int(np.count_nonzero(self.validation.valid[group.rows]))
            found = Counter({total(names.COLLECTOR_ROWS, *stream, names.OUTCOME_PASS): passed})
            found[total(names.COLLECTOR_ROWS, *stream, names.OUTCOME_FAIL)] = len(group.rows) - passed
            for (column, reason), broken in self.validation.failures.items():
                found[total(names.VALIDATION_FAILURES, *stream, column, reason)] = int(
                    np.count_nonzero(broken[group.rows])
                )
            counts.setdefault(group.partition, Counter()).update({key: count for key, count in found.items() if count})
        return counts


def gather(
    monitor: Monitor,
    arrivals: Sequence[Arrival],
    columns: ColumnBatch,
    stream_ids: Mapping[StreamKey, int],
    watched: Mapping[str, set[str]],
) -> MonitorRows:
    """Put the rows of ``arrivals``, already concatenated to ``columns``, where they belong."""
    owners = np.repeat(np.arange(len(arrivals), dtype=np.intp), [arrival.rows.rows for arrival in arrivals])
    size_s = monitor.windows.size
    windows = [
        WindowRef(stream_ids[arrival.stream], ALL_ROWS, *window_of(arrival.event.time_s, size_s))
        for arrival in arrivals
    ]
    numbers: dict[tuple[str, WindowRef], int] = {}
    keys = [
        numbers.setdefault((arrival.record.counted_in, window), len(numbers))
        for arrival, window in zip(arrivals, windows, strict=True)
    ]
    names_by_id = {number: stream for stream, number in stream_ids.items()}
    groups = [
        Group(partition, names_by_id[window.stream_id], window, rows)
        for (partition, window), rows in zip(numbers, group_positions(keys, owners), strict=True)
    ]
    segments, segment_rows = segments_of_rows(monitor, watched, columns)
    validation = validate(monitor, columns)
    return MonitorRows(monitor, arrivals, columns, owners, windows, groups, segments, segment_rows, validation)


def merge_columns(arrivals: Sequence[Arrival]) -> ColumnBatch:
    """The columns of all events of one monitor, one under the other."""
    return concatenate([arrival.rows for arrival in arrivals])


def prediction_columns(
    batch: MonitorRows, outlier_scores: NDArray[np.float64], layout: RowLayout | None
) -> PredictionColumns:
    """The rows as the store takes them; ``layout`` None: without their input columns."""
    monitor, columns = batch.monitor, batch.columns
    owners = batch.owners.tolist()
    first_rows = np.concatenate([[0], np.cumsum([arrival.rows.rows for arrival in batch.arrivals])])
    encoded = {segments: msgspec.json.encode(segments).decode() for segments in set(batch.segments)}
    events = [arrival.event for arrival in batch.arrivals]
    times_s = [event.time_s for event in events]
    event_ids = [key_text(event.id) for event in events]
    request_ids = [key_text(event.request_id) for event in events]
    traces = [None if event.traceparent is None else clean(event.traceparent) for event in events]
    return PredictionColumns(
        event_id=[event_ids[owner] for owner in owners],
        row=(np.arange(columns.rows) - first_rows[batch.owners]).tolist(),
        stream_id=[batch.windows[owner].stream_id for owner in owners],
        request_id=[request_ids[owner] for owner in owners],
        time_s=[times_s[owner] for owner in owners],
        window_start_s=[batch.windows[owner].start_s for owner in owners],
        window_end_s=[batch.windows[owner].end_s for owner in owners],
        segments=[encoded[segments] for segments in batch.segments],
        prediction=predictions(monitor, columns),
        score=_scores(monitor, columns),
        outlier_score=_nullable(outlier_scores),
        valid=batch.validation.valid.astype(np.int64).tolist(),
        traceparent=[traces[owner] for owner in owners],
        columns=[None] * columns.rows if layout is None else pack(layout, columns),
    )


def predictions(monitor: Monitor, columns: ColumnBatch) -> list[str | None]:
    """Each row's prediction as text: a class name, or a number of a regression; None where there is none."""
    name = monitor.prediction.column
    if name in columns.numeric:
        spell = number_text if monitor.task == "regression" else class_name
        return [spell(value) for value in columns.numeric[name].tolist()]
    if name in columns.text:
        spelt = {value: None if value is None else clean(class_name(value) or "") for value in set(columns.text[name])}
        return [spelt[value] for value in columns.text[name].tolist()]
    return [None] * columns.rows


def _scores(monitor: Monitor, columns: ColumnBatch) -> list[float | None]:
    score = monitor.prediction.score
    if score is None or score not in columns.numeric:
        return [None] * columns.rows
    return _nullable(columns.numeric[score])


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    missing = np.isnan(values)
    listed: list[float | None] = values.tolist()
    for place in np.flatnonzero(missing).tolist():
        listed[place] = None
    return listed
