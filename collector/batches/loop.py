"""The collector's loop: records in; rows, window statistics, labels and positions out, in one transaction per batch.

A batch is read, decoded and counted in memory, then written at once, with the position of every partition moved from
where this collector last saw it. So replaying any part of the stream changes nothing, and of two collectors that read
the same partition only one commits: the other's transaction fails, it forgets its states and reads them anew.
While the database does not answer, the one batch in hand waits and nothing more is read.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter

from collector.batches.commit import Batch, BatchWriter
from collector.batches.contents import Intake
from collector.batches.forgetting import Forgetting
from collector.batches.intake import UNSTORABLE, Reader, StreamNames, event_keys
from collector.batches.payloads import PayloadWriter
from collector.batches.positions import HandedOut, Positions, StoreWentBackError, ends_of, firsts_of, from_positions
from collector.batches.subjects import SubjectHasher
from collector.labels.book import LabelBook
from collector.labels.desk import DESK
from collector.labels.effects import LabelEffects, save_effects
from collector.operating.activity import Activity
from collector.operating.metrics import CollectorMetrics
from collector.operating.tracing import NoTracing, Tracing
from collector.ports import BatchDecoder, BatchPart, HalfJoiner, RecordSource, WindowStatistics
from collector.settings import CollectorSettings
from collector.store.erased import ErasedBook
from collector.store.states import StateBook, StateCache
from collector.store.store import Store
from collector.store.transaction import PositionMove
from collector.store.unmonitored import unmonitored_models
from driftline.clock import Clock
from driftline.errors import PermanentError, TransientError
from driftline.events import InferenceEvent
from driftline.halves import Half
from driftline.monitors import Monitor
from driftline.record_batches import RecordBatch
from driftline.records import Content, Malformed, Record, Several

__all__ = ["BatchDecoder", "Collector", "RecordSource", "WindowStatistics"]


#: No records, and no partition that goes on behind them.
_NOTHING: tuple[RecordBatch, Mapping[str, int]] = (RecordBatch((), {}), {})
_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
#: Between two looks how far others are with what they have to read.
_OTHERS_EVERY_S = 3.0


class Collector:
    """Reads ``source`` into ``store``; one thread calls ``run``, or ``run_once`` again and again."""

    def __init__(
        self,
        source: RecordSource,
        store: Store,
        decoder: BatchDecoder,
        statistics: WindowStatistics,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        settings: CollectorSettings,
        payloads: PayloadWriter | None,
        metrics: CollectorMetrics,
        joiner: HalfJoiner | None = None,
        tracing: Tracing | None = None,
        erased: ErasedBook | None = None,
    ) -> None:
        self._tracing = tracing or NoTracing()
        subjects = SubjectHasher(settings.subject_secret)
        self._forgetting = Forgetting(erased or ErasedBook(subjects.hash), subjects)
        self._source = source
        self._joiner = joiner
        self._store = store
        self._monitors = monitors
        self._clock = clock
        self._settings = settings
        self._payloads = payloads
        self._metrics = metrics
        self._decoder = decoder
        self._unmonitored = unmonitored_models(settings.maximum_unmonitored_models, monitors, store.read)
        self._labels = LabelBook(statistics, monitors, self._forgetting.book, unmonitored=self._unmonitored)
        self._cache = StateCache(settings.open_states)
        self._writer = BatchWriter(
            store,
            statistics,
            self._labels,
            payloads,
            keep_columns=settings.store_columns,
            subjects=subjects,
            erased=self._forgetting.book,
        )
        self._reader: Reader | None = None
        self._positions = Positions(store.position)
        self._handed = HandedOut()
        self._waiting, self._ends = _NOTHING
        self._batch_records = settings.minimum_batch_records
        self._next_sweep = time.monotonic() + settings.sweep_interval_s
        self._next_lag = self._next_others = 0.0
        self.activity = Activity()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; what a part that is away refuses is tried again, ever less often."""
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            before = self.activity.trouble
            try:
                self.run_once()
                pause_s = _FIRST_PAUSE_S
                if before is not None and before.tries > 1:
                    away_s = self.activity.elapsed_s(before.since_s)
                    _log.warning("goes on after %.0f s and %d tries", away_s, before.tries)
            except TransientError as error:
                if before is not None and before.tries == 1:  # what does not pass by itself at once
                    _log.warning("%s; nothing is read until this passes", error)
                self._metrics.transient(error)
                self.activity.failed(error, len(self._waiting))
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def run_once(self) -> int:
        """Read and commit one batch; how many records it had.

        Raises TransientError when it could not be committed now; the same batch is then tried again at the next call.
        """
        self._sweep_when_due()
        self.activity.begin("read")
        self._report_lag()
        started_ns = time.time_ns()
        if not self._waiting:
            self._waiting, self._ends = self._poll()
        handled = len(self._waiting)
        if handled:
            self.activity.begin("commit")
            try:
                self._commit_traced(started_ns)
            except StoreWentBackError as error:
                self._read_again(error)
            self._waiting, self._ends = _NOTHING
        self.activity.turned(handled)
        return handled

    def sweep(self) -> None:
        """Let go of labels that waited too long and of files that no commit knows."""
        effects = LabelEffects()
        states = StateBook(StateCache(self._settings.open_states))
        with self._store.transaction() as transaction:
            transaction.lock_partition(DESK)
            self._forgetting.book.follow(transaction.connection)  # so that an eraser waits for what is joined here
            self._labels.sweep(transaction, states, DESK, self._clock(), effects)
            save_effects(transaction, DESK, effects, states.changed())
        self._metrics.label_delays(effects.delays_s)
        if self._payloads is not None:
            self._payloads.sweep(self._store.payload_files())

    # --- reading ------------------------------------------------------------------------------------------------
    def _poll(self) -> tuple[RecordBatch, Mapping[str, int]]:
        """A batch, full or as much as came within the commit interval, and where each partition goes on behind it."""
        settings = self._settings
        until = time.monotonic() + settings.commit_interval_s
        parts: list[RecordBatch] = []
        ends: dict[str, int] = {}
        firsts: dict[str, int] = {}
        count = size_bytes = 0
        while count < self._batch_records and size_bytes < settings.maximum_batch_bytes:
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            try:
                polled = self._source.poll(self._batch_records - count, left_s)
            except TransientError:
                if not parts:
                    raise
                break  # the source has gone past what is in hand; it says again at the next turn what is away
            if not polled:
                break
            found = RecordBatch.of([polled])
            # A source whose partitions are dealt anew goes back to what is committed, and this batch is not yet.
            found = from_positions(found, ends.get) if ends else found
            ends |= ends_of(found)
            firsts = firsts_of(found) | firsts
            parts.append(found)
            count += len(found)
            size_bytes += _size_bytes(found)
        grown = self._batch_records * 2 if count >= self._batch_records else max(count, self._batch_records // 2)
        self._batch_records = min(max(grown, settings.minimum_batch_records), settings.maximum_batch_records)
        self._handed.follow({partition: (firsts[partition], end) for partition, end in ends.items()})
        self.activity.took(count, {partition: end - firsts[partition] for partition, end in ends.items()})
        return RecordBatch.of(parts), ends

    def _read_again(self, error: StoreWentBackError) -> None:
        """Let go of the batch in hand, and have its partitions read from where the store says."""
        _log.warning("%s: what lies between is read again", error)
        self._forget()
        self._handed.forget()
        if False in {self._source.go_back(partition) for partition in self._ends}:
            raise error  # this source can only begin anew, with the process

    # --- committing ---------------------------------------------------------------------------------------------
    def _commit_traced(self, started_ns: int) -> None:
        read_ns = time.time_ns()
        links = _traceparents(self._waiting, self._tracing.maximum_links)
        with self._tracing.span("batch", {"records": len(self._waiting)}, links, start_ns=started_ns):
            self._tracing.past("read", started_ns, read_ns)
            self._commit(self._waiting, self._ends)

    def _commit(self, records: RecordBatch, ends: Mapping[str, int]) -> None:
        """Commit records, halving a batch whose values the store refuses until the culprit is alone."""
        try:
            self._commit_batch(records, ends)
        except TransientError:
            self._forget()
            raise
        except PermanentError as error:
            self._forget()
            if len(records) == 1:
                self._commit_batch(records, ends, refused=str(error))
                return
            middle = len(records) // 2
            for half in (records[:middle], records[middle:]):
                self._commit(half, ends_of(half))

    def _commit_batch(self, records: RecordBatch, ends: Mapping[str, int], refused: str | None = None) -> None:
        moves = self._moves(records, ends)
        if fresh := from_positions(records, self._positions.of):
            started = time.monotonic()
            self._ready_reader()  # before halves are paired: it knows what was erased
            with self._tracing.span("decode"):
                whole, parts = self._join(fresh)
                intake = self._read(whole) if refused is None else self._refuse(whole, refused)
            states = StateBook(self._cache)
            batch = Batch(moves, intake, states, self._clock(), self._monitors, parts)
            with self._tracing.span("commit"):
                effects = self._writer.write(batch)
            states.committed()
            self._metrics.committed(time.monotonic() - started)
            self._metrics.label_delays(effects.delays_s)
        self._cache.drop(self._positions.moved(moves))
        for move in moves:
            self._source.acknowledge(move.partition, move.next_offset)
        self.activity.committed(_newest(records))

    def _moves(self, records: RecordBatch, ends: Mapping[str, int]) -> list[PositionMove]:
        moves = []
        for partition, end in ends.items():
            expected = self._positions.of(partition)
            self._handed.check(partition, expected)
            moves.append(PositionMove(partition, expected, max(end, expected or 0)))
        return [*moves, *self._lane_moves(records)]

    def _lane_moves(self, records: RecordBatch) -> list[PositionMove]:
        """A lane has no positions of its own; that it moves at all shows other collectors that its states changed."""
        lanes = {record.lane for record in records.others.values() if record.lane}
        seen = {lane: self._positions.of(lane) for lane in sorted(lanes)}
        return [PositionMove(lane, expected, (expected or 0) + 1) for lane, expected in seen.items()]

    def _join(self, records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[BatchPart]]:
        """The records with halves paired, and what has to be stored for that."""
        if self._joiner is None:
            return records, ()
        joined = self._joiner.join(records, self._clock())
        return joined.records, (joined.part,)

    def _read(self, records: Sequence[Record]) -> Intake:
        reader = self._ready_reader()
        keys = event_keys(records)
        return reader.read(records, keys, self._store.known_events(keys), self._clock())

    def _refuse(self, records: Sequence[Record], detail: str) -> Intake:
        reader = self._ready_reader()
        return Intake(dead=[reader.reject(record, UNSTORABLE, detail, self._clock()) for record in records])

    def _ready_reader(self) -> Reader:
        if self._reader is None:
            self._store.read(self._forgetting.book.follow)
            self._reader = Reader(
                self._decoder,
                self._monitors,
                StreamNames(self._store.known_streams(), self._settings.maximum_streams),
                maximum_raw_bytes=self._settings.maximum_raw_bytes,
                maximum_future_s=self._settings.maximum_future_s,
                forgetting=self._forgetting,
                unmonitored=self._unmonitored,
            )
        return self._reader

    def _forget(self) -> None:
        """Believe only the store from now on."""
        self._cache.forget()
        self._positions.forget()
        self._reader = None
        self._writer.forget()

    # --- now and then -------------------------------------------------------------------------------------------
    def _sweep_when_due(self) -> None:
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + self._settings.sweep_interval_s
            self.activity.begin("sweep")
            self.sweep()

    def _report_lag(self) -> None:
        if time.monotonic() >= self._next_lag:
            self._next_lag = time.monotonic() + 1.0
            try:
                self.activity.lag(self._source.lag())
            except TransientError as error:
                self._tell_away(error)
            self._follow_others()
            self.activity.held = dict(self._source.held())

    def _follow_others(self) -> None:
        if time.monotonic() >= self._next_others:
            self._next_others = time.monotonic() + _OTHERS_EVERY_S
            with suppress(TransientError):  # a broker that is away is told by the lag, a database by the batch
                self.activity.others(self._source.elsewhere())

    def _tell_away(self, error: TransientError) -> None:
        if self.activity.away is None:
            _log.warning("%s; what waits there is not known until this passes", error)
        self._metrics.transient(error)
        self.activity.unreadable(error)


def _traceparents(records: RecordBatch, maximum: int) -> list[str]:
    """The first different ones, of the requests that the records are of."""
    if not maximum:
        return []
    found: dict[str | None, None] = {}
    for _, run in records.runs:
        found.update(dict.fromkeys(run.events.fields.get("traceparent", [run.events.like.traceparent])))
    found.update({getattr(record.content, "traceparent", None): None for record in records.others.values()})
    return [traceparent for traceparent in found if traceparent][:maximum]


def _newest(records: RecordBatch) -> dict[str, float]:
    """The time of the last event of each partition, where its last record is one."""
    last: dict[str, tuple[int, float | None]] = {}
    for places, run in records.runs:
        placed = int(places[-1]), int(run.events.times_ns[-1]) / 1e9
        last[run.partition] = max(placed, last.get(run.partition, (-1, None)), key=itemgetter(0))
    for place, record in records.others.items():
        if place > last.get(record.partition, (-1, None))[0]:
            content = record.content
            last[record.partition] = place, content.time_s if isinstance(content, InferenceEvent) else None
    return {partition: time_s for partition, (_, time_s) in last.items() if time_s is not None}


def _size_bytes(records: RecordBatch) -> int:
    contents = [record.content for record in records.others.values()]
    sizes = [
        sum(_content_bytes(part) for part in (content.contents if isinstance(content, Several) else (content,)))
        for content in contents
    ]
    return sum(sizes) + sum(run.events.body_bytes for _, run in records.runs)


def _content_bytes(content: Content) -> int:
    if isinstance(content, InferenceEvent):
        return len(content.request.body) + len(content.response.body)
    if isinstance(content, Half):
        return len(content.payload.body)
    return len(content.raw) if isinstance(content, Malformed) else 0
