"""Prediction rows as the store keeps them, and what they count for, out of one monitor's decoded events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.batches.arrivals import Arrivals
from collector.batches.contents import MonitorEvents
from collector.batches.validation import Validation, validate
from collector.batches.windows import group_positions, segments_of_rows
from collector.store.database import clean, key_texts
from collector.store.predictions import PredictionColumns
from collector.store.row_columns import RowLayout, pack
from collector.store.spelling import class_name, number_text
from collector.store.transaction import TotalKey, WindowRef, total
from driftline import names
from driftline.columns import ColumnBatch
from driftline.event_windows import windows_of
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey

_T = TypeVar("_T")


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

    ``times_s``, ``starts_s``, ``ends_s``: each event's time and window, as long as ``events.arrivals``.
    """

    events: MonitorEvents
    stream_ids: NDArray[np.int64]
    times_s: NDArray[np.float64]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    groups: Sequence[Group]
    segments: Sequence[tuple[str, ...]]
    segment_rows: Mapping[str, NDArray[np.intp]]
    validation: Validation

    @property
    def monitor(self) -> Monitor:
        """Whose rows these are."""
        return self.events.monitor

    @property
    def arrivals(self) -> Arrivals:
        """The events they come from; some may have none."""
        return self.events.arrivals

    @property
    def columns(self) -> ColumnBatch:
        """All rows."""
        return self.events.columns

    @property
    def owners(self) -> NDArray[np.intp]:
        """Each row's event, as its place in ``arrivals``."""
        return self.events.owners

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


def gather(events: MonitorEvents, stream_ids: Mapping[StreamKey, int], watched: Mapping[str, set[str]]) -> MonitorRows:
    """Put the rows of a monitor's events where they belong."""
    monitor, arrivals = events.monitor, events.arrivals
    streams, codes = arrivals.streams()
    ids = np.array([stream_ids[stream] for stream in streams], dtype=np.int64)[codes]
    times_s = arrivals.times_s()
    starts_s, ends_s = windows_of(times_s, monitor.windows.size)
    groups = _groups(events, ids, starts_s, ends_s)
    segments, segment_rows = segments_of_rows(monitor, watched, events.columns)
    validation = validate(monitor, events.columns)
    return MonitorRows(events, ids, times_s, starts_s, ends_s, groups, segments, segment_rows, validation)


def _groups(
    events: MonitorEvents,
    stream_ids: NDArray[np.int64],
    starts_s: NDArray[np.float64],
    ends_s: NDArray[np.float64],
) -> list[Group]:
    if not events.columns.rows:
        return []
    streams, stream_codes = events.arrivals.streams()
    partitions, partition_codes = events.arrivals.partitions()
    groups = []
    for rows in group_positions([key[events.owners] for key in (partition_codes, stream_codes, starts_s)]):
        place = int(events.owners[rows[0]])
        window = WindowRef(int(stream_ids[place]), ALL_ROWS, float(starts_s[place]), float(ends_s[place]))
        groups.append(Group(partitions[partition_codes[place]], streams[stream_codes[place]], window, rows))
    return groups


def prediction_columns(
    batch: MonitorRows, outlier_scores: NDArray[np.float64], layout: RowLayout | None
) -> PredictionColumns:
    """The rows as the store takes them; ``layout`` None: without their input columns."""
    monitor, columns = batch.monitor, batch.columns
    arrivals, owners = batch.arrivals, batch.owners
    one_each = len(owners) == len(arrivals) and bool((owners == np.arange(len(owners))).all())

    def spread(values: Sequence[_T]) -> Sequence[_T]:
        """A value per event as a value per row."""
        return values if one_each else [values[owner] for owner in owners.tolist()]

    encoded = {segments: msgspec.json.encode(segments).decode() for segments in set(batch.segments)}
    traces = [trace if trace is None else clean(trace) for trace in arrivals.traceparents()]
    return PredictionColumns(
        event_id=spread(arrivals.event_ids()),
        row=batch.events.rows,
        stream_id=batch.stream_ids[owners],
        request_id=spread(key_texts(arrivals.request_ids())),
        time_s=batch.times_s[owners],
        window_start_s=batch.starts_s[owners],
        window_end_s=batch.ends_s[owners],
        segments=[encoded[segments] for segments in batch.segments],
        prediction=predictions(monitor, columns),
        score=_scores(monitor, columns),
        outlier_score=_nullable(outlier_scores),
        valid=batch.validation.valid.astype(np.int64),
        traceparent=spread(traces),
        columns=[None] * columns.rows if layout is None else pack(layout, columns),
    )


def predictions(monitor: Monitor, columns: ColumnBatch) -> list[str | None]:
    """Each row's prediction as text: a class name, or or a number; None where there is none."""
    name = monitor.prediction.column
    if name in columns.numeric:
        spell = number_text if monitor.predicts_numbers else class_name
        return [spell(value) for value in columns.numeric[name].tolist()]
    if name in columns.coded:
        coded = columns.coded[name]
        names_of = np.array([*(clean(class_name(value) or "") for value in coded.texts), None], np.object_)
        listed: list[str | None] = names_of[coded.codes].tolist()
        return listed
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
