"""Prediction rows as the store keeps them, and what they count for, out of one monitor's decoded events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.assemble import concatenate
from collector.database import clean, key_text
from collector.intake import Arrival
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
        numbers.setdefault((arrival.record.partition, window), len(numbers))
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


def prediction_rows(
    batch: MonitorRows, outlier_scores: NDArray[np.float64], *, keep_columns: bool
) -> list[tuple[Any, ...]]:
    """Tuples in the order of ``transaction.PREDICTION_COLUMNS``."""
    monitor, columns = batch.monitor, batch.columns
    events = [_event_values(arrival, window) for arrival, window in zip(batch.arrivals, batch.windows, strict=True)]
    encoded = {segments: msgspec.json.encode(segments).decode() for segments in set(batch.segments)}
    first_rows = np.concatenate([[0], np.cumsum([arrival.rows.rows for arrival in batch.arrivals])])
    numbers = (np.arange(columns.rows) - first_rows[batch.owners]).tolist()
    answers = zip(
        predictions(monitor, columns),
        _scores(monitor, columns),
        _nullable(outlier_scores),
        batch.validation.valid.astype(np.int64).tolist(),
        strict=True,
    )
    texts = column_texts(batch) if keep_columns else [None] * columns.rows
    rows = []
    for owner, number, segments, answer, text in zip(
        batch.owners.tolist(), numbers, batch.segments, answers, texts, strict=True
    ):
        event_id, stream_id, request_id, time_s, start_s, end_s, traceparent = events[owner]
        place = (event_id, number, stream_id, request_id, time_s, start_s, end_s, encoded[segments])
        rows.append((*place, *answer, traceparent, text))
    return rows


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


def column_texts(batch: MonitorRows) -> list[str]:
    """Each row's input columns as a JSON object; infinities as text, because JSON has no number for them."""
    outputs = {batch.monitor.prediction.column, batch.monitor.prediction.score}
    columns = {}
    for name, values in batch.columns.numeric.items():
        if name not in outputs:
            columns[name] = _json_numbers(values)
    for name, texts in batch.columns.text.items():
        if name not in outputs:
            columns[name] = texts.tolist()
    order = [spec.name for spec in batch.monitor.columns if spec.name in columns]
    encode = msgspec.json.encode
    if not order:
        return ["{}"] * batch.columns.rows
    listed = zip(*(columns[name] for name in order), strict=True)
    return [encode(dict(zip(order, row, strict=True))).decode() for row in listed]


def _event_values(arrival: Arrival, window: WindowRef) -> tuple[str, int, str, float, float, float, str | None]:
    event = arrival.event
    traceparent = None if event.traceparent is None else clean(event.traceparent)
    ids = (key_text(event.id), window.stream_id, key_text(event.request_id))
    return (*ids, event.time_s, window.start_s, window.end_s, traceparent)


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


def _json_numbers(values: NDArray[np.float64]) -> list[float | str | None]:
    listed: list[float | str | None] = values.tolist()
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        listed[place] = None if np.isnan(values[place]) else str(values[place])
    return listed
