"""The store: everything the collector keeps, and every port through which the other rooms read it.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as directory:
...     store = Store(f"sqlite:///{directory}/store.db")
...     store.streams()
[]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, Engine, select, text

from collector.store import reads as store_reads
from collector.store import revisions as store_revisions
from collector.store import schema
from collector.store import windows as store_windows
from collector.store.counts import label_windows
from collector.store.database import connect, reading, writing
from collector.store.migrate import migrate
from collector.store.partitions import DayPartitions
from collector.store.row_columns import RowLayout
from collector.store.transaction import DeadLetter, PayloadFile, StateKey, TotalKey, Transaction, WindowState
from collector.store.window_rows import labelled_rows, window_rows
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.errors import UnavailableError
from driftline.monitors import Monitor
from driftline.results import (
    ColumnShape,
    DueWindow,
    LabelState,
    Page,
    PastWindow,
    Result,
    Revision,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
    WindowLabels,
)

T = TypeVar("T")


class Store:
    """The database at ``url`` (``sqlite:///PATH`` or ``postgresql://...``), migrated to the newest schema.

    Safe to share between threads; any number of processes may use one database. Raises UnavailableError when the
    database is not there.
    """

    def __init__(self, url: str, *, prepare: bool = True) -> None:
        if prepare:
            migrate(url)
        self._engine: Engine = connect(url)
        self._days = DayPartitions(self._engine)
        self._stream_ids: dict[StreamKey, int] = {}
        self._layouts: set[int] = set()

    @property
    def engine(self) -> Engine:
        """The database, for parts of the collector that write on their own (retention, erasure)."""
        return self._engine

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def ready(self) -> bool:
        """Whether the database answers."""
        try:
            with reading(self._engine) as connection:
                connection.execute(text("SELECT 1"))
        except UnavailableError:
            return False
        return True

    # --- for the collector --------------------------------------------------------------------------------------
    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing; raises TransientError when another writer was first, UnavailableError, PermanentError."""
        with writing(self._engine) as connection:
            yield Transaction(connection, self._days)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for one consistent read, for parts that keep tables of their own."""
        with reading(self._engine) as connection:
            yield connection

    def read(self, ask: Callable[[Connection], T]) -> T:
        """What ``ask`` finds in one consistent read."""
        with reading(self._engine) as connection:
            return ask(connection)

    def position(self, partition: str) -> int | None:
        """Where reading a partition goes on; None: from its beginning. The ``start`` of a record source."""
        table = schema.positions.c
        with reading(self._engine) as connection:
            return connection.execute(
                select(table.next_offset).where(table.partition == partition)
            ).scalar_one_or_none()

    def known_events(self, events: Sequence[tuple[str, float]]) -> set[tuple[str, float]]:
        """Those events, by id and time, that were stored before."""
        with reading(self._engine) as connection:
            return Transaction(connection).known_events(events)

    def stored_states(self, keys: Iterable[StateKey]) -> Mapping[StateKey, WindowState]:
        """Window states by partition."""
        with reading(self._engine) as connection:
            return Transaction(connection).window_states(keys)

    def positions(self) -> Mapping[str, int]:
        """How far every partition is committed."""
        return store_reads.positions(self._engine)

    def stream_ids(self, streams: Iterable[StreamKey]) -> Mapping[StreamKey, int]:
        """The numbers of streams, made where they are new; in a transaction of its own, which is harmless alone."""
        wanted = set(streams)
        if new := sorted(wanted - self._stream_ids.keys()):
            with writing(self._engine) as connection:
                Transaction(connection).add_missing(schema.streams, [_stream_values(stream) for stream in new])
                found = {stream: store_windows.find_stream(connection, stream) for stream in new}
            self._stream_ids.update({stream: number for stream, number in found.items() if number is not None})
        return {stream: self._stream_ids[stream] for stream in wanted}

    def known_streams(self) -> set[StreamKey]:
        """Every stream that has a number."""
        table = schema.streams.c
        with reading(self._engine) as connection:
            found = connection.execute(select(table.namespace, table.model, table.version, table.variant))
            return {StreamKey(*row) for row in found}

    def segment_values(self, monitor: Monitor) -> dict[str, set[str]]:
        """The values watched apart, by segment column."""
        table = schema.segment_values.c
        values: dict[str, set[str]] = {column: set() for column in monitor.segments}
        statement = select(table.column, table.value).where(
            table.namespace == monitor.namespace, table.model == monitor.model
        )
        with reading(self._engine) as connection:
            for column, value in connection.execute(statement):
                values.setdefault(column, set()).add(value)
        return values

    def add_segment_values(self, monitor: Monitor, values: Sequence[tuple[str, str]]) -> None:
        """Watch these (column, value) pairs apart from now on."""
        monitored = {"namespace": monitor.namespace, "model": monitor.model}
        rows: list[Mapping[str, str | int]] = [
            {**monitored, "column": column, "value": value} for column, value in values
        ]
        with writing(self._engine) as connection:
            Transaction(connection).add_missing(schema.segment_values, rows)

    def keep_layout(self, layout: RowLayout) -> None:
        """Remember what packed columns of this layout mean; in a transaction of its own, which is harmless alone."""
        if layout.number not in self._layouts:
            with writing(self._engine) as connection:
                row: dict[str, str | int] = {"number": layout.number, "columns": layout.spelt()}
                Transaction(connection).add_missing(schema.row_layouts, [row])
            self._layouts.add(layout.number)

    def totals(self) -> Mapping[TotalKey, int]:
        """The persisted counters."""
        return store_reads.totals(self._engine)

    def dead_letters(self, limit: int, *, model: str | None = None, reason: str | None = None) -> Sequence[DeadLetter]:
        """The newest dead letters."""
        return store_reads.dead_letters(self._engine, limit, model=model, reason=reason)

    def dead_letter(self, partition: str, offset: int) -> DeadLetter | None:
        """One dead letter by its place."""
        return store_reads.dead_letter(self._engine, partition, offset)

    def payload_files(self, namespace: str | None = None, model: str | None = None) -> Sequence[PayloadFile]:
        """Every registered file of payload rows, of one model where that is given, oldest first."""
        table = schema.payload_files
        statement = select(table).order_by(table.c.first_event_s, table.c.path)
        if model is not None:
            statement = statement.where(table.c.namespace == namespace, table.c.model == model)
        with reading(self._engine) as connection:
            return [PayloadFile(*row) for row in connection.execute(statement)]

    # --- for the detectors (WindowStore, ResultReader) -----------------------------------------------------------
    def due_windows(self, monitor: Monitor, now_s: float) -> Sequence[DueWindow]:
        """Closed windows that changed since they were evaluated, oldest first."""
        return store_windows.due_windows(self._engine, monitor, now_s)

    def window_states(self, key: WindowKey) -> Sequence[bytes]:
        """A window's statistics, one per partition."""
        return store_windows.window_states(self._engine, key)

    def window_rows(self, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
        """Some rows of one segment's windows with their input columns, by a hash of their keys."""
        return self.read(lambda connection: window_rows(connection, keys, limit))

    def labelled_rows(self, monitor: Monitor, key: WindowKey, limit: int) -> tuple[ColumnBatch, JudgedBatch]:
        """Some of a window's rows with a label, by a hash of their keys: input columns, and prediction beside label."""
        return self.read(lambda connection: labelled_rows(connection, monitor, key, limit))

    def stream_windows(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[DueWindow]:
        """Every window of a stream's segment within [since_s, until_s], oldest first."""
        return store_windows.stream_windows(self._engine, stream, segment, since_s, until_s)

    def window_p_values(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[float]:
        """The p-values of whole windows that begin in [since_s, until_s), as last evaluated, oldest first."""
        return store_windows.window_p_values(self._engine, stream, segment, since_s, until_s)

    def detector_results(
        self, stream: StreamKey, segment: str, prefix: str, since_s: float, until_s: float
    ) -> Sequence[Result]:
        """Newest results of detectors whose names begin so, of windows that begin in [since_s, until_s), by start."""
        return store_reads.detector_results(self._engine, stream, segment, prefix, since_s, until_s)

    def past_windows(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[PastWindow]:
        """Those evaluated windows of a segment that begin at one of these times, oldest first."""
        return store_windows.past_windows(self._engine, stream, segment, starts_s)

    def past_states(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[bytes]:
        """The states of these windows, of all partitions."""
        return store_windows.past_states(self._engine, stream, segment, starts_s)

    def variant_windows(self, key: WindowKey, variant: str) -> Sequence[WindowKey]:
        """The same window of another variant, of each of its versions."""
        return store_windows.variant_windows(self._engine, key, variant)

    def variant_states(self, key: WindowKey, variant: str) -> Sequence[bytes]:
        """The states of the same window of another variant."""
        return store_windows.variant_states(self._engine, key, variant)

    def window_keys(self, namespace: str, model: str, since_s: float, until_s: float) -> Sequence[WindowKey]:
        """Every window of a model that lies within [since_s, until_s], oldest first."""
        return store_windows.window_keys(self._engine, namespace, model, since_s, until_s)

    def save_results(
        self,
        due: DueWindow,
        results: Sequence[Result],
        shapes: Sequence[ColumnShape],
        evaluated_at_s: float,
        labels: LabelState | None = None,
    ) -> None:
        """Keep a new revision of a window's results, with what is known of its labels."""
        store_windows.save_results(self._engine, due, results, shapes, evaluated_at_s, labels)

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        """Rows, labels and delays of a model's windows that end after ``since_s``, by stream and start."""
        return self.read(lambda connection: label_windows(connection, namespace, model, since_s, segments=segments))

    def newest_results(self) -> Sequence[Result]:
        """All results of the newest evaluated window of every stream and segment."""
        return store_reads.newest_results(self._engine)

    def verdict_counts(self) -> Mapping[tuple[StreamKey, Verdict], int]:
        """Evaluated windows by first verdict on drift."""
        return store_reads.verdict_counts(self._engine)

    # --- for alerts and dashboards (EvidenceReader, Reader, PageStore) -------------------------------------------
    def streams(self) -> Sequence[StreamSummary]:
        """Every stream at a glance."""
        return store_reads.streams(self._engine)

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        """Newest revisions for windows that touch [since_s, until_s), by start, segment, column, detector."""
        return store_reads.results(self._engine, stream, since_s, until_s)

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        """Rows of [since_s, until_s), the most telling first."""
        return store_reads.samples(self._engine, stream, since_s, until_s, limit)

    def shapes(self, key: WindowKey) -> Sequence[ColumnShape]:
        """The distributions of a window's columns."""
        return store_reads.shapes(self._engine, key)

    def revisions(self, key: WindowKey) -> Sequence[Revision]:
        """Every revision of a window with its results, the oldest first."""
        return store_revisions.revisions(self._engine, key)

    def save_page(self, page: Page) -> None:
        """Keep a page; one of the same id is replaced."""
        row = {"id": page.id, "received_at_s": page.received_at_s, "page": msgspec.msgpack.encode(page)}
        with writing(self._engine) as connection:
            connection.execute(schema.pages.delete().where(schema.pages.c.id == page.id))
            connection.execute(schema.pages.insert().values(row))

    def pages(self, limit: int) -> Sequence[Page]:
        """The newest pages first."""
        table = schema.pages.c
        statement = select(table.page).order_by(table.received_at_s.desc(), table.id).limit(limit)
        with reading(self._engine) as connection:
            return [msgspec.msgpack.decode(page, type=Page) for (page,) in connection.execute(statement)]

    def page(self, page_id: str) -> Page | None:
        """One page."""
        statement = select(schema.pages.c.page).where(schema.pages.c.id == page_id)
        with reading(self._engine) as connection:
            found = connection.execute(statement).scalar_one_or_none()
        return None if found is None else msgspec.msgpack.decode(found, type=Page)


def _stream_values(stream: StreamKey) -> dict[str, str]:
    return {
        "namespace": stream.namespace,
        "model": stream.model,
        "version": stream.version,
        "variant": stream.variant,
    }
