"""Writing one batch: what it holds is counted in memory, then stored in a single transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from collector.batches.contents import Intake, LabelArrival, MonitorEvents
from collector.batches.payloads import PayloadWriter
from collector.batches.rows import MonitorRows, gather, prediction_columns
from collector.batches.subjects import SubjectHasher
from collector.batches.windows import group_positions, new_segment_values
from collector.labels.book import LabelBook
from collector.labels.effects import LabelEffects
from collector.labels.keys import given_key, keyed_predictions
from collector.ports import BatchPart, WindowStatistics
from collector.store.bulk import upsert_together
from collector.store.counts import ROWS, WindowCounts, added_window_counts
from collector.store.database import key_text
from collector.store.erased import ERASED_STATUS, ErasedBook
from collector.store.keys import KeyedPrediction, save_keys
from collector.store.labels import any_pending
from collector.store.predictions import PredictionColumns
from collector.store.row_columns import layout_of
from collector.store.states import StateBook
from collector.store.store import Store
from collector.store.transaction import (
    PayloadFile,
    PositionMove,
    Span,
    StateKey,
    TotalKey,
    Transaction,
    added_spans,
    added_totals,
    changed_states,
    total,
)
from collector.store.waiting import LabelKey
from driftline import names
from driftline.columns import ColumnBatch
from driftline.errors import TransientError, UnavailableError
from driftline.monitors import Monitor
from driftline.results import StreamKey


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be committed, with the states it is counted into; ``parts`` are written in the same transaction."""

    moves: Sequence[PositionMove]
    intake: Intake
    states: StateBook
    now_s: float
    monitors: Mapping[str, Monitor]
    parts: Sequence[BatchPart] = ()


@dataclass(slots=True)
class _Writes:
    """Everything of a batch that is ready to be stored."""

    predictions: list[PredictionColumns] = field(default_factory=list)
    rowless: list[tuple[str, int, float, int]] = field(default_factory=list)
    files: list[PayloadFile] = field(default_factory=list)
    batches: list[MonitorRows] = field(default_factory=list)
    totals: dict[str, Counter[TotalKey]] = field(default_factory=dict)
    spans: dict[str, dict[int, Span]] = field(default_factory=dict)
    #: Business keys of the rows, by partition.
    keys: dict[str, list[KeyedPrediction]] = field(default_factory=dict)
    #: Rows by window and segment, by partition.
    windows: dict[str, WindowCounts] = field(default_factory=dict)

    def count(self, partition: str, key: TotalKey, number: int = 1) -> None:
        self.totals.setdefault(partition, Counter())[key] += number


class BatchWriter:
    """Turns batches into transactions. Remembers only which segments are watched."""

    def __init__(
        self,
        store: Store,
        statistics: WindowStatistics,
        labels: LabelBook,
        payloads: PayloadWriter | None,
        *,
        keep_columns: bool,
        subjects: SubjectHasher,
        erased: ErasedBook | None = None,
    ) -> None:
        self._erased = erased or ErasedBook(subjects.hash)
        self._subjects = subjects
        self._store = store
        self._statistics = statistics
        self._labels = labels
        self._payloads = payloads
        self._keep_columns = keep_columns
        self._watched: dict[str, dict[str, set[str]]] = {}

    def forget(self) -> None:
        """Read the watched segments anew."""
        self._watched.clear()

    def write(self, batch: Batch) -> LabelEffects:
        """Commit; raises TransientError or PermanentError, and then nothing was written."""
        writes = self._prepare(batch)
        effects: dict[str, LabelEffects] = {}
        with self._store.transaction() as transaction:
            transaction.move_positions(batch.moves)
            if self._erased.follow(transaction.connection):
                raise TransientError("something was erased meanwhile; the batch is read again without it")
            for part in batch.parts:
                part.write(transaction)
            early, late = _by_arrival(batch.intake, writes.keys)
            self._apply_labels(transaction, batch, early, effects)
            for predictions in writes.predictions:
                transaction.insert_predictions(predictions)
            save_keys(transaction, [key for keys in writes.keys.values() for key in keys])
            self._join_waiting(transaction, batch, writes.batches, effects)
            self._join_waiting_keys(transaction, batch, writes.keys, effects)
            self._apply_labels(transaction, batch, late, effects)
            transaction.insert_rowless(writes.rowless)
            transaction.insert_dead_letters([rejected.letter for rejected in batch.intake.dead])
            transaction.add_payload_files(writes.files)
            self._save_counts(transaction, batch.states, writes, effects)
        merged = LabelEffects()
        for found in effects.values():
            merged.delays_s.extend(found.delays_s)
        return merged

    # --- before the transaction -----------------------------------------------------------------------------------
    def _prepare(self, batch: Batch) -> _Writes:
        intake = batch.intake
        writes = _Writes()
        forgotten = [*intake.erased, *(arrival for arrival, _ in intake.thinned)]
        streams = {arrival.stream for arrival in forgotten}
        streams.update(stream for events in intake.monitors for stream in events.arrivals.streams()[0])
        stream_ids = self._store.stream_ids(streams)
        for arrival in (each for each in forgotten if each.event.namespace + "/" + each.event.model in batch.monitors):
            # Known by id and time from now on, so that a copy is one.
            writes.rowless.append((arrival.event_id, stream_ids[arrival.stream], arrival.time_s, ERASED_STATUS))
        for arrival in intake.erased:
            _count_event(writes, arrival.record.counted_in, arrival.stream, names.OUTCOME_ERASED)
        for arrival, rows in intake.thinned:
            key = total(names.COLLECTOR_REMOVED, arrival.stream.namespace, arrival.stream.model, "late_rows")
            writes.count(arrival.record.counted_in, key, rows)
        for events in intake.monitors:
            _count_stored(writes, events, stream_ids)
        for partition, stream in intake.duplicates:
            _count_event(writes, partition, stream, names.OUTCOME_DUPLICATE)
        for letter, stream, number in intake.dead:
            _count_event(writes, letter.partition, stream, names.OUTCOME_DEAD_LETTER, letter.reason, number)
        for events in intake.monitors:
            if events.columns.rows:
                self._prepare_rows(batch, events, stream_ids, writes)
        return writes

    def _prepare_rows(
        self, batch: Batch, events: MonitorEvents, stream_ids: Mapping[StreamKey, int], writes: _Writes
    ) -> None:
        monitor, columns = events.monitor, events.columns
        rows = gather(events, stream_ids, self._watch(monitor, columns))
        scores = self._statistics.outlier_scores(monitor, columns)
        self._observe(batch.states, rows, scores, writes)
        layout = layout_of(monitor) if self._keep_columns else None
        if layout is not None:
            self._store.keep_layout(layout)
        predictions = prediction_columns(rows, scores, layout)
        if monitor.subject is not None:
            subjects = [
                self._subjects.subjects(monitor, arrival.event, events.rows_of(place))
                for place, arrival in enumerate(events.arrivals)
            ]
            predictions = replace(predictions, subject=[subject for each in subjects for subject in each])
        writes.predictions.append(predictions)
        writes.batches.append(rows)
        if monitor.labels.key is not None:
            for place, arrival in enumerate(events.arrivals):
                kept, numbers = events.rows_of(place), events.numbers_of(place)
                found = keyed_predictions(monitor.labels.key, arrival.event, kept, numbers)
                writes.keys.setdefault(arrival.record.counted_in, []).extend(found)
        for partition, counts in rows.totals().items():
            writes.totals.setdefault(partition, Counter()).update(counts)
        self._write_payloads(rows, predictions, writes)

    def _watch(self, monitor: Monitor, columns: ColumnBatch) -> Mapping[str, set[str]]:
        if not monitor.segments:
            return {}
        watched = self._watched.get(monitor.name)
        if watched is None:
            watched = self._watched[monitor.name] = self._store.segment_values(monitor)
        if new := new_segment_values(monitor, watched, columns):
            self._store.add_segment_values(monitor, new)
            for column, value in new:
                watched[column].add(value)
        return watched

    def _observe(self, states: StateBook, rows: MonitorRows, scores: NDArray[np.float64], writes: _Writes) -> None:
        changes = rows.states()
        states.load([StateKey(partition, window) for partition, window, _ in changes], self._store.stored_states)
        for partition, window, positions in changes:
            writes.windows.setdefault(partition, WindowCounts())[window, ROWS] += len(positions)
            part, part_scores = rows.columns, scores
            if len(positions) < rows.columns.rows:
                part, part_scores = rows.columns.take(positions), scores[positions]

            def observe(
                state: bytes | None, part: ColumnBatch = part, part_scores: NDArray[np.float64] = part_scores
            ) -> bytes:
                return self._statistics.observe(rows.monitor, state, part, part_scores)

            states.update(StateKey(partition, window), observe, len(positions))

    def _write_payloads(self, rows: MonitorRows, predictions: PredictionColumns, writes: _Writes) -> None:
        if self._payloads is None:
            return
        try:
            writes.files.extend(self._payloads.write(rows, predictions))
        except UnavailableError:
            key = total(names.COLLECTOR_PAYLOAD_FAILURES, rows.monitor.namespace, rows.monitor.model)
            writes.count(rows.arrivals[0].record.counted_in, key)

    # --- inside the transaction -----------------------------------------------------------------------------------
    def _apply_labels(
        self,
        transaction: Transaction,
        batch: Batch,
        labels: Sequence[LabelArrival],
        effects: dict[str, LabelEffects],
    ) -> None:
        by_partition: dict[str, list[LabelArrival]] = {}
        for arrival in labels:
            by_partition.setdefault(arrival.partition, []).append(arrival)
        for partition, arrivals in by_partition.items():
            counted = effects.setdefault(partition, LabelEffects())
            usable, _ = self._labels.refuse([arrival.label for arrival in arrivals], batch.now_s, counted)
            self._labels.apply(transaction, batch.states, partition, usable, counted)

    def _join_waiting(
        self,
        transaction: Transaction,
        batch: Batch,
        arrived: Sequence[MonitorRows],
        effects: dict[str, LabelEffects],
    ) -> None:
        for rows in arrived:
            if not any_pending(transaction, rows.monitor.namespace, rows.monitor.model):
                continue
            by_partition: dict[str, list[LabelKey]] = {}
            partitions, codes = rows.arrivals.partitions()
            request_ids = [key_text(request_id) for request_id in rows.arrivals.request_ids()]
            monitored = (rows.monitor.namespace, rows.monitor.model)
            for owner, number in zip(rows.owners.tolist(), rows.events.rows.tolist(), strict=True):
                key = LabelKey(*monitored, request_ids[owner], number)
                by_partition.setdefault(partitions[codes[owner]], []).append(key)
            for partition, keys in by_partition.items():
                counted = effects.setdefault(partition, LabelEffects())
                self._labels.join_waiting(transaction, batch.states, partition, keys, counted)

    def _join_waiting_keys(
        self,
        transaction: Transaction,
        batch: Batch,
        keys: Mapping[str, Sequence[KeyedPrediction]],
        effects: dict[str, LabelEffects],
    ) -> None:
        for partition, predictions in keys.items():
            counted = effects.setdefault(partition, LabelEffects())
            self._labels.join_waiting_keys(transaction, batch.states, partition, predictions, counted)

    @staticmethod
    def _save_counts(
        transaction: Transaction, states: StateBook, writes: _Writes, effects: Mapping[str, LabelEffects]
    ) -> None:
        for partition, found in effects.items():
            writes.totals.setdefault(partition, Counter()).update(found.totals)
            spans = writes.spans.setdefault(partition, {})
            for stream_id, span in found.spans.items():
                spans.setdefault(stream_id, Span()).labelled_rows += span.labelled_rows
        for partition, found in effects.items():
            writes.windows.setdefault(partition, WindowCounts()).update(found.windows)
        upserts = (
            changed_states(states.changed()),
            added_window_counts(writes.windows),
            added_totals(writes.totals),
            added_spans(writes.spans),
        )
        upsert_together(transaction.connection, upserts)


def _by_arrival(
    intake: Intake, keys: Mapping[str, Sequence[KeyedPrediction]]
) -> tuple[list[LabelArrival], list[LabelArrival]]:
    """Labels that come before an event of their request id, or of their key, in this batch, and all others.

    They wait for it first, as they would had the batch ended between the two: where batches end must not show.
    """
    if not intake.labels:
        return [], []
    last: dict[tuple[str, str, str], int] = {}
    for arrival in intake.arrivals():
        event = arrival.event
        last[event.namespace, event.model, event.request_id] = arrival.order
    by_key: dict[tuple[str, str, str], int] = {}
    for found in keys.values():
        for each in found:
            place = (each.namespace, each.model, each.key)
            by_key[place] = max(by_key.get(place, -1), last.get((*place[:2], each.request_id), -1))
    early: list[LabelArrival] = []
    late: list[LabelArrival] = []
    for arrived in intake.labels:
        label = arrived.label
        orders, subject = (by_key, given_key(label.key)) if label.key else (last, label.request_id)
        comes_first = arrived.order < orders.get((label.namespace, label.model, subject), -1)
        (early if comes_first else late).append(arrived)
    return early, late


def _count_event(
    writes: _Writes, partition: str, stream: StreamKey, outcome: str, reason: str = "", number: int = 1
) -> None:
    labels = (stream.namespace, stream.model, stream.version, stream.variant, outcome, reason)
    writes.count(partition, total(names.COLLECTOR_EVENTS, *labels), number)


def _count_stored(writes: _Writes, events: MonitorEvents, stream_ids: Mapping[StreamKey, int]) -> None:
    """Events and rows by stream; events without rows are kept as such."""
    streams, stream_codes = events.arrivals.streams()
    partitions, partition_codes = events.arrivals.partitions()
    times_s, counts = events.arrivals.times_s(), np.array(events.counts, np.int64)
    for places in group_positions([partition_codes, stream_codes]) if len(counts) else ():
        partition, stream = partitions[partition_codes[places[0]]], streams[stream_codes[places[0]]]
        here_s = times_s[places]
        span = Span(int(counts[places].sum()), 0, float(here_s.min()), float(here_s.max()))
        writes.spans.setdefault(partition, {})[stream_ids[stream]] = span
        _count_event(writes, partition, stream, names.OUTCOME_STORED, number=len(places))
    for place in np.flatnonzero(counts == 0).tolist():
        arrival = events.arrivals[place]
        stream_id = stream_ids[arrival.stream]
        writes.rowless.append((arrival.event_id, stream_id, arrival.time_s, arrival.event.status_code))
