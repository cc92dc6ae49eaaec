"""One transaction of the collector: all that a batch brings, written together or not at all."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, select, tuple_, update

from collector.store import schema
from collector.store.arrays import KeyArray
from collector.store.bulk import (
    Column,
    Upsert,
    UpsertForm,
    array_parameter,
    driver_cursor,
    insert_columns,
    insert_tuples,
    upsert_together,
)
from collector.store.database import is_any_of, prefer_indexes, upsert
from collector.store.ids import KeyColumn, keys_of
from collector.store.partitions import DayPartitions, day_numbers, held_days, partition_name
from collector.store.predictions import PREDICTION_COLUMNS, Numbers, PredictionColumns
from driftline.errors import TransientError
from driftline.names import Metric

#: Window states that one statement asks for; each is five parameters of it.
_STATES_AT_ONCE = 500


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
    event_time_s: float | None = None


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

    def __init__(self, connection: Connection, days: DayPartitions | None = None) -> None:
        self.connection = connection
        self._days = days
        self._held: dict[int, float] | None = None
        self._prefers_indexes = False

    def prepare_days(self, times_s: Numbers) -> None:
        """Make sure that rows of these times can be stored, and stay so until the transaction ends."""
        if self._days is None or self.connection.dialect.name == "sqlite":
            return
        held = self._held_rows()
        if missing := set(np.unique(day_numbers(np.asarray(times_s, np.float64))).tolist()) - held.keys():
            self._days.create(missing)
            self._held = dict(sorted({**held, **dict.fromkeys(missing, -1.0)}.items()))

    def held_days(self) -> list[int]:
        """The days of which rows are stored, oldest first, none of which is dropped meanwhile; none on SQLite.

        Asked for once: what another writer's new day holds meanwhile is for the next transaction to see.
        """
        return list(self._held_rows())

    def rows_about(self, day: int) -> float:
        """About how many predictions a held day has; below 0 where the database has not counted them yet."""
        return self._held_rows()[day]

    def _held_rows(self) -> dict[int, float]:
        if self._held is None:
            self._held, self._prefers_indexes = held_days(self.connection), True
        return self._held

    def prefer_indexes(self) -> None:
        """Look rows up one by one until the transaction ends; see ``database.prefer_indexes``."""
        if not self._prefers_indexes:
            prefer_indexes(self.connection)
            self._prefers_indexes = True

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
        upsert_together(self.connection, [Upsert(_LOCKED, [(partition, 1)])])

    def _move(self, move: PositionMove) -> bool:
        table = schema.positions
        if move.expected is None:
            statement = upsert(self.connection, table).values(partition=move.partition, next_offset=move.next_offset)
            made = self.connection.execute(statement.on_conflict_do_nothing().returning(table.c.partition))
            return made.one_or_none() is not None
        moved = self.connection.execute(
            update(table)
            .where(table.c.partition == move.partition, table.c.next_offset == move.expected)
            .values(next_offset=move.next_offset)
        )
        return moved.rowcount == 1

    # --- events and rows ----------------------------------------------------------------------------------------
    def known_events(self, events: Sequence[tuple[str, float]], *, dead: bool = True) -> set[tuple[str, float]]:
        """Those (id, time) that were stored before, with rows, without, or, unless ``dead`` is false, as dead letters.

        An event is its id and its time: a replay has both, and a sender that uses an id again means another event.
        """
        if not events:
            return set()
        letter = schema.dead_letters.c
        wanted = dict.fromkeys(events)  # in their order, which is nearly that of the index
        event_ids = [event_id for event_id, _ in wanted]
        found = self.known_rowless(list(wanted))
        found |= self._known_with_rows(wanted)
        if dead:
            letters = select(letter.event_id, letter.event_time_s)
            for event_id, time_s in self.connection.execute(letters.where(self._any(letter.event_id, event_ids))):
                found |= {event for event in wanted if event[0] == event_id} if time_s is None else {(event_id, time_s)}
        return found & wanted.keys()

    def known_rowless(self, events: Sequence[tuple[str, float]]) -> set[tuple[str, float]]:
        """Those (id, time) of ``events`` that were stored without rows, or whose rows were erased."""
        rowless = schema.rowless_events.c
        event_ids = [event_id for event_id, _ in events]
        statement = select(rowless.event_id, rowless.time_s).where(self._any(rowless.event_id, event_ids))
        stored = {(event_id, time_s) for event_id, time_s in self.connection.execute(statement)}
        return stored.intersection(events) if stored else stored

    def _known_with_rows(self, wanted: Collection[tuple[str, float]]) -> set[tuple[str, float]]:
        event_ids = [event_id for event_id, _ in wanted]
        keys = keys_of(event_ids)
        if self.connection.dialect.name == "sqlite":
            rows, ids = schema.predictions.c, dict(zip(keys.texts, event_ids, strict=True))
            stored = select(rows.event_key, rows.time_s).where(self._any(rows.event_key, keys.texts), rows.row == 0)
            return {(ids[key], time_s) for key, time_s in self.connection.execute(stored)}
        days = day_numbers(np.array([time_s for _, time_s in wanted]))
        found = set()
        for day in sorted(set(days.tolist()).intersection(self.held_days())):
            table = partition_name("predictions", day)
            # As a subquery that stays one (OFFSET 0) there is one plan. As a join, PostgreSQL compares every key with
            # every row until a new day's table has statistics.
            statement = (
                "SELECT k.place, p.time_s FROM unnest(%b) WITH ORDINALITY AS k (key, place) "  # noqa: S608
                f"CROSS JOIN LATERAL (SELECT time_s FROM {table} WHERE event_key = k.key AND row = 0 OFFSET 0) p"
            )
            places = np.flatnonzero(days == day)
            with driver_cursor(self.connection, statement, binary=True) as cursor:
                for number, time_s in cursor.execute(statement, [KeyArray.of(keys, places)]):
                    found.add((event_ids[places[number - 1]], time_s))
        return found

    def _any(self, column: Any, values: Sequence[str]) -> Any:
        return is_any_of(self.connection, column, values)

    def insert_predictions(self, rows: PredictionColumns) -> None:
        """Store prediction rows, with their columns apart."""
        if not len(rows):
            return
        self.prepare_days(rows.time_s)
        event_keys, request_keys = keys_of(rows.event_id), keys_of(rows.request_id)
        values: dict[str, Column] = {
            "event_key": event_keys,
            "request_key": request_keys,
            "event_id": _beside(rows.event_id, event_keys),
            "request_id": _beside(rows.request_id, request_keys),
        }
        values.update({name: getattr(rows, name) for name in PREDICTION_COLUMNS if name not in {*values, "columns"}})
        if rows.subject:
            values["subject"] = rows.subject
        insert_columns(self.connection, schema.predictions, values)
        kept = [place for place, columns in enumerate(rows.columns) if columns is not None]
        if kept:
            apart: dict[str, Sequence[Any] | NDArray[Any]] = {
                "time_s": rows.time_s,
                "row": rows.row,
                "columns": rows.columns,
            }
            if len(kept) < len(rows):
                chosen = np.array(kept)
                apart = {
                    name: column[chosen] if isinstance(column, np.ndarray) else [column[place] for place in kept]
                    for name, column in apart.items()
                }
                event_keys = event_keys.take(chosen)
            insert_columns(self.connection, schema.prediction_columns, {"event_key": event_keys, **apart})

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
        place = (table.partition, table.stream_id, table.segment, table.start_s, table.end_s)
        wanted = sorted({(partition, *window) for partition, window in keys})
        found = {}
        if self.connection.dialect.name != "sqlite":
            self.prefer_indexes()
            for *window, partition, state, change in _stored_states(self.connection, wanted):
                found[StateKey(partition, WindowRef(*window))] = WindowState(state, change)
            return found
        for start in range(0, len(wanted), _STATES_AT_ONCE):
            these = tuple_(*place).in_(wanted[start : start + _STATES_AT_ONCE])
            for row in self.connection.execute(select(*place, table.state, table.change).where(these)):
                partition, *window, state, change = row
                found[StateKey(partition, WindowRef(*window))] = WindowState(bytes(state), change)
        return found

    # --- counters -----------------------------------------------------------------------------------------------
    def add_totals(self, partition: str, counts: Mapping[TotalKey, int]) -> None:
        """Add to the counters of one partition."""
        upsert_together(self.connection, [added_totals({partition: counts})])

    def add_missing(self, table: Table, rows: Sequence[Mapping[str, str | int]]) -> None:
        """Insert rows, leaving those that are there as they are."""
        if rows:
            self.connection.execute(upsert(self.connection, table).on_conflict_do_nothing(), list(rows))

    def add_payload_files(self, files: Sequence[PayloadFile]) -> None:
        """Register files; one of the same name, written again by a replay, is replaced."""
        if not files:
            return
        table = schema.payload_files
        statement = upsert(self.connection, table)
        changed = {name: statement.excluded[name] for name in PayloadFile.__slots__ if name != "path"}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=[table.c.path], set_=changed),
            [{name: getattr(file, name) for name in PayloadFile.__slots__} for file in files],
        )

    def drop_payload_files(self, files: Iterable[PayloadFile]) -> int:
        """Register files no more; how many of them were registered."""
        table = schema.payload_files
        dropped = 0
        for file in files:
            dropped += self.connection.execute(table.delete().where(table.c.path == file.path)).rowcount
        return dropped


def total(metric: Metric, *labels: str) -> TotalKey:
    """The counter of ``metric`` with these label values, in the order of ``metric.labels``."""
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has labels {metric.labels}, not {labels}")
    return TotalKey(metric.name, labels)


def _stored_states(connection: Connection, wanted: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    statement = (
        "SELECT s.* FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::float8[], %s::float8[]) "
        "AS k (partition, stream_id, segment, start_s, end_s) CROSS JOIN LATERAL "
        "(SELECT stream_id, segment, start_s, end_s, partition, state, change FROM window_states w "
        "WHERE w.stream_id = k.stream_id AND w.segment = k.segment AND w.start_s = k.start_s AND w.end_s = k.end_s "
        "AND w.partition = k.partition OFFSET 0) s"
    )
    values = [array_parameter(column) for column in zip(*wanted, strict=True)]
    with driver_cursor(connection, statement, binary=True) as cursor:
        found: list[tuple[Any, ...]] = cursor.execute(statement, values).fetchall()
    return found


def _place(item: tuple[StateKey, WindowState]) -> StateKey:
    return item[0]


def _beside(ids: Sequence[str], keys: KeyColumn) -> Sequence[str | None]:
    if keys.own.all():
        return [None] * len(ids)
    if not keys.own.any():
        return ids
    return [None if own else text for text, own in zip(ids, keys.own.tolist(), strict=True)]


# --- what is added to, or written over what was there -----------------------------------------------------------------
def _nearest(column: str, sign: str) -> str:
    """SQL: of a span's old and new time the one that is ``sign`` the other, or the one that is known."""
    old, new = f"stream_spans.{column}", f"excluded.{column}"
    return f"COALESCE(CASE WHEN {new} {sign} {old} THEN {new} ELSE {old} END, {new})"


_LOCKED = UpsertForm(schema.positions, ("partition", "next_offset"), (("next_offset", "positions.next_offset + 1"),))
_STATES = UpsertForm(
    schema.window_states,
    ("stream_id", "segment", "start_s", "end_s", "partition", "change", "state"),
    (("state", "excluded.state"), ("change", "excluded.change")),
)
_TOTALS = UpsertForm(
    schema.totals, ("partition", "metric", "labels", "value"), (("value", "totals.value + excluded.value"),)
)
_SPANS = UpsertForm(
    schema.stream_spans,
    ("partition", "stream_id", *Span.__slots__),
    (
        ("rows", "stream_spans.rows + excluded.rows"),
        ("labelled_rows", "stream_spans.labelled_rows + excluded.labelled_rows"),
        ("first_event_s", _nearest("first_event_s", "<")),
        ("last_event_s", _nearest("last_event_s", ">")),
    ),
)


def changed_states(states: Mapping[StateKey, WindowState]) -> Upsert:
    """States, to be written over what was there."""
    return Upsert(
        _STATES,
        [(*key.window, key.partition, value.change, value.state) for key, value in sorted(states.items(), key=_place)],
    )


def added_totals(counts: Mapping[str, Mapping[TotalKey, int]]) -> Upsert:
    """What the counters of partitions grow by."""
    return Upsert(
        _TOTALS,
        [
            (partition, key.metric, msgspec.json.encode(key.labels).decode(), count)
            for partition in sorted(counts)
            for key, count in sorted(counts[partition].items())
        ],
    )


def added_spans(spans: Mapping[str, Mapping[int, Span]]) -> Upsert:
    """What partitions add to the summaries of the streams, by stream number."""
    return Upsert(
        _SPANS,
        [
            (partition, stream_id, *(getattr(span, name) for name in Span.__slots__))
            for partition in sorted(spans)
            for stream_id, span in sorted(spans[partition].items())
        ],
    )
