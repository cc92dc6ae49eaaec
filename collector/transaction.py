"""One transaction of the collector: all that a batch brings, written together or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from collector import schema
from collector.database import insert_tuples, is_any_of
from collector.predictions import PREDICTION_COLUMNS, PredictionColumns
from driftline.errors import TransientError
from driftline.names import Metric


class WindowRef(NamedTuple):
    """A window of a segment of a stream, by the stream's number."""

    stream_id: int
    segment: str
    start_s: float
    end_s: float


class WindowState(NamedTuple):
    """The statistics of one window as one partition knows them, and how many rows and labels made them."""

    state: bytes
    change: int


class StateKey(NamedTuple):
    """A window state's place: each partition keeps its own, and evaluation merges them."""

    partition: str
    window: WindowRef


class TotalKey(NamedTuple):
    """One counter: a metric's name with its label values in order."""

    metric: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PositionMove:
    """A partition goes from where this writer last saw it (None: never committed) to ``next_offset``."""

    partition: str
    expected: int | None
    next_offset: int


@dataclass(slots=True)
class Span:
    """What one batch adds to a stream's summary."""

    rows: int = 0
    labelled_rows: int = 0
    first_event_s: float | None = None
    last_event_s: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, kept with the reason for people to look at."""

    partition: str
    offset: int
    event_id: str | None
    namespace: str
    model: str
    reason: str
    detail: str
    time_s: float
    raw: bytes


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """A Parquet file of payload rows; ``path`` is relative to the payload directory."""

    path: str
    namespace: str
    model: str
    first_event_s: float
    last_event_s: float
    rows: int


class Transaction:
    """The writes of one transaction, each of them set-based. Made by ``Store.transaction``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._upsert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert

    # --- positions ----------------------------------------------------------------------------------------------
    def move_positions(self, moves: Iterable[PositionMove]) -> None:
        """Compare and set; raises TransientError when another writer moved a partition since it was read.

        Always in the same order, so that two writers of several partitions cannot wait for each other.
        """
        for move in sorted(moves, key=lambda move: move.partition):
            if not self._move(move):
                raise TransientError(f"partition '{move.partition}' was moved on by another collector")

    def lock_partition(self, partition: str) -> None:
        """Be the only writer of ``partition`` until the transaction ends; for writers that read no stream."""
        table = schema.positions
        statement = self._upsert(table).values(partition=partition, next_offset=1)
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.partition], set_={"next_offset": table.c.next_offset + 1}
            )
        )

    def _move(self, move: PositionMove) -> bool:
        table = schema.positions
        if move.expected is None:
            statement = self._upsert(table).values(partition=move.partition, next_offset=move.next_offset)
            made = self.connection.execute(statement.on_conflict_do_nothing().returning(table.c.partition))
            return made.one_or_none() is not None
        moved = self.connection.execute(
            update(table)
            .where(table.c.partition == move.partition, table.c.next_offset == move.expected)
            .values(next_offset=move.next_offset)
        )
        return moved.rowcount == 1

    # --- events and rows ----------------------------------------------------------------------------------------
    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Those of ``event_ids`` that were stored before, with rows, without, or as dead letters."""
        if not event_ids:
            return set()
        rows, rowless, dead = schema.predictions.c, schema.rowless_events.c, schema.dead_letters.c
        statements = (
            select(rows.event_id).where(is_any_of(self.connection, rows.event_id, event_ids), rows.row == 0),
            select(rowless.event_id).where(is_any_of(self.connection, rowless.event_id, event_ids)),
            select(dead.event_id).where(is_any_of(self.connection, dead.event_id, event_ids)),
        )
        return {event_id for statement in statements for (event_id,) in self.connection.execute(statement)}

    def insert_predictions(self, rows: PredictionColumns) -> None:
        """Store prediction rows."""
        insert_tuples(self.connection, schema.predictions, PREDICTION_COLUMNS, list(rows.tuples()))

    def insert_rowless(self, rows: Sequence[tuple[str, int, float, int]]) -> None:
        """Events without rows: id, stream, time, status code."""
        columns = ("event_id", "stream_id", "time_s", "status_code")
        insert_tuples(self.connection, schema.rowless_events, columns, rows)

    def insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep what could not be used."""
        columns = DeadLetter.__slots__
        rows = [tuple(getattr(letter, name) for name in columns) for letter in letters]
        insert_tuples(self.connection, schema.dead_letters, columns, rows)

    # --- window states ------------------------------------------------------------------------------------------
    def window_states(self, keys: Iterable[StateKey]) -> dict[StateKey, WindowState]:
        """The stored states of ``keys``; absent keys have none yet."""
        table = schema.window_states.c
        wanted: dict[tuple[str, int, float, float], set[str]] = {}
        for partition, (stream_id, segment, start_s, end_s) in keys:
            wanted.setdefault((partition, stream_id, start_s, end_s), set()).add(segment)
        found = {}
        for (partition, stream_id, start_s, end_s), segments in wanted.items():
            statement = select(table.segment, table.state, table.change).where(
                table.stream_id == stream_id,
                table.segment.in_(sorted(segments)),
                table.start_s == start_s,
                table.end_s == end_s,
                table.partition == partition,
            )
            for segment, state, change in self.connection.execute(statement):
                key = StateKey(partition, WindowRef(stream_id, segment, start_s, end_s))
                found[key] = WindowState(bytes(state), change)
        return found

    def save_window_states(self, states: Mapping[StateKey, WindowState]) -> None:
        """Write states over what was there."""
        if not states:
            return
        table = schema.window_states
        statement = self._upsert(table)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"state": statement.excluded.state, "change": statement.excluded.change},
        )
        rows = [
            {**key.window._asdict(), "partition": key.partition, "state": value.state, "change": value.change}
            for key, value in sorted(states.items())
        ]
        self.connection.execute(statement, rows)

    # --- counters -----------------------------------------------------------------------------------------------
    def add_totals(self, partition: str, counts: Mapping[TotalKey, int]) -> None:
        """Add to the counters of one partition."""
        if not counts:
            return
        table = schema.totals
        statement = self._upsert(table)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={"value": table.c.value + statement.excluded.value}
        )
        rows = [
            {
                "partition": partition,
                "metric": key.metric,
                "labels": msgspec.json.encode(key.labels).decode(),
                "value": count,
            }
            for key, count in sorted(counts.items())
        ]
        self.connection.execute(statement, rows)

    def add_spans(self, partition: str, spans: Mapping[int, Span]) -> None:
        """Add to the summaries of the streams, by stream number."""
        table = schema.stream_spans
        for stream_id, span in sorted(spans.items()):
            here = and_(table.c.partition == partition, table.c.stream_id == stream_id)
            old = self.connection.execute(select(table).where(here)).one_or_none()
            values = {
                "rows": span.rows + (old.rows if old else 0),
                "labelled_rows": span.labelled_rows + (old.labelled_rows if old else 0),
                "first_event_s": _known(min, span.first_event_s, old.first_event_s if old else None),
                "last_event_s": _known(max, span.last_event_s, old.last_event_s if old else None),
            }
            if old:
                self.connection.execute(update(table).where(here).values(**values))
            else:
                self.connection.execute(table.insert().values(partition=partition, stream_id=stream_id, **values))

    def add_missing(self, table: Table, rows: Sequence[Mapping[str, str | int]]) -> None:
        """Insert rows, leaving those that are there as they are."""
        if rows:
            self.connection.execute(self._upsert(table).on_conflict_do_nothing(), list(rows))

    def add_payload_files(self, files: Sequence[PayloadFile]) -> None:
        """Register files; one of the same name, written again by a replay, is replaced."""
        if not files:
            return
        table = schema.payload_files
        statement = self._upsert(table)
        changed = {name: statement.excluded[name] for name in PayloadFile.__slots__ if name != "path"}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=[table.c.path], set_=changed),
            [{name: getattr(file, name) for name in PayloadFile.__slots__} for file in files],
        )


def total(metric: Metric, *labels: str) -> TotalKey:
    """The counter of ``metric`` with these label values, in the order of ``metric.labels``."""
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has labels {metric.labels}, not {labels}")
    return TotalKey(metric.name, labels)


def _known(choose: Any, *values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None
