"""The store's part in labels: finding the predictions they speak of, and keeping those that came too early."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Row, TextualSelect, and_, func, select, text

from collector.store import schema
from collector.store.bulk import insert_tuples
from collector.store.database import is_any_of
from collector.store.ids import day_of, key_of
from collector.store.partitions import day_number, partition_name
from collector.store.transaction import Transaction, WindowRef
from collector.store.waiting import LabelKey, PendingLabel
from driftline.results import StreamKey


@dataclass(slots=True)
class LabelledRow:
    """A stored prediction as far as labels need it; ``label``, ``label_time_s``, ``wrong``, ``judged`` change.

    ``revision`` counts the labels that took effect on the row so far; ``history`` holds those that did since it was
    read, as they will be stored. ``rank``: of a ranking's candidate, its place by score, from 1.
    """

    event_key: str
    row: int
    stream_id: int
    stream: StreamKey
    time_s: float
    window_start_s: float
    window_end_s: float
    segments: str
    prediction: str | None
    score: float | None
    label: str | None
    label_time_s: float | None
    wrong: int | None
    judged: int
    revision: int = 0
    history: list[tuple[str | None, float | None, float, int | None, int]] = field(default_factory=list)
    rank: int | None = None

    def keep_change(self, before: tuple[object, ...], received_at_s: float) -> None:
        """Remember what the row's label is now, where that is not what :meth:`effect` said ``before``."""
        if self.effect() != before:
            self.history.append((self.label, self.label_time_s, received_at_s, self.wrong, self.judged))

    def effect(self) -> tuple[object, ...]:
        """What the label in effect says and did."""
        return (self.label, self.label_time_s, self.wrong, self.judged)

    def windows(self) -> Iterable[WindowRef]:
        """The row's window in every segment it belongs to."""
        for segment in ("", *msgspec.json.decode(self.segments, type=list[str])):
            yield WindowRef(self.stream_id, segment, self.window_start_s, self.window_end_s)


#: Labels for more different rows than this are picked out here, not by the database.
_ROW_NUMBERS_IN_QUERY = 100
_PREDICTION = (
    "event_key",
    "row",
    "stream_id",
    "time_s",
    "window_start_s",
    "window_end_s",
    "segments",
    "prediction",
    "score",
)
_LABEL = ("label", "observed_at_s", "wrong", "judged", "revision")
_LABEL_COLUMNS = (
    "event_key",
    "row",
    "revision",
    "time_s",
    "stream_id",
    "label",
    "observed_at_s",
    "received_at_s",
    "wrong",
    "judged",
)


def rows_to_label(transaction: Transaction, keys: Sequence[LabelKey]) -> dict[LabelKey, LabelledRow]:
    """The stored prediction of each key with its label in effect; of several events with one request id, the newest.

    A request id that is used twice is a fault of the caller; the later event is the one its label most likely means.
    Where the id tells its day (UUID version 7), that day's events go first, on every database: PostgreSQL looks other
    days through only for what is not there. Nothing is locked: of two writers that label one row at once, the second
    to store finds its revision taken, and raises TransientError.
    """
    if not keys:
        return {}
    wanted = _Wanted(keys)
    streams = {number: StreamKey(*key) for number, *key in transaction.connection.execute(select(schema.streams))}
    found: dict[LabelKey, LabelledRow] = {}
    newest: dict[LabelKey, tuple[bool, float, str]] = {}
    for rows in _rows_by_request(transaction, wanted):
        for request_key, *values in map(list, rows):
            stream = streams[values[2]]
            key = LabelKey(stream.namespace, stream.model, wanted.request_ids[request_key], values[1])
            event_id = values.pop()
            told = day_of(request_key) == day_number(values[3])
            age = (told, values[3], event_id or values[0])  # of events at one time, the one whose id comes last
            if key in wanted.keys and (key not in newest or newest[key] < age):
                newest[key] = age
                found[key] = labelled_row(stream, values)
        wanted.drop(found)
    return found


def save_labels(transaction: Transaction, rows: Sequence[LabelledRow]) -> None:
    """Keep every change of ``rows`` as a revision of its own; raises TransientError when another writer was first."""
    changed = sorted((row for row in rows if row.history), key=lambda row: (row.event_key, row.row))
    if not changed:
        return
    transaction.prepare_days([row.time_s for row in changed])
    insert_tuples(
        transaction.connection,
        schema.labels,
        _LABEL_COLUMNS,
        [
            (row.event_key, row.row, revision, row.time_s, row.stream_id, *change)
            for row in changed
            for revision, change in enumerate(row.history, row.revision + 1)
        ],
    )


def any_pending(transaction: Transaction, namespace: str, model: str) -> bool:
    """Whether any label of a model waits."""
    table = schema.labels_pending.c
    statement = select(table.row).where(table.namespace == namespace, table.model == model).limit(1)
    return transaction.connection.execute(statement).first() is not None


def pending_labels(
    transaction: Transaction, keys: Iterable[LabelKey], *, skip_locked: bool = False
) -> dict[LabelKey, PendingLabel]:
    """Waiting labels of ``keys``, locked; ``skip_locked``: without those that another writer is about to join."""
    wanted = set(keys)
    by_model: dict[tuple[str, str], set[str]] = {}
    for key in wanted:
        by_model.setdefault((key.namespace, key.model), set()).add(key.request_id)
    table = schema.labels_pending.c
    found: dict[LabelKey, PendingLabel] = {}
    for (namespace, model), request_ids in sorted(by_model.items()):
        statement = (
            select(schema.labels_pending)
            .where(table.namespace == namespace, table.model == model)
            .where(is_any_of(transaction.connection, table.request_id, sorted(request_ids)))
            .with_for_update(skip_locked=skip_locked)
        )
        each = (_pending(values) for values in transaction.connection.execute(statement))
        found.update({pending.key: pending for pending in each if pending.key in wanted})
    return found


def joinable_labels(transaction: Transaction, limit: int) -> list[PendingLabel]:
    """Waiting labels whose prediction is there all the same: two writers passed each other.

    Looked for among the ``limit`` that came last, because writers pass each other within moments. Locked before it is
    looked at what their rows have: of a label that somebody joined meanwhile nothing must be counted again.
    """
    statement = select(schema.labels_pending).order_by(schema.labels_pending.c.received_at_s.desc()).limit(limit)
    waiting = [_pending(values) for values in transaction.connection.execute(statement)]
    found = rows_to_label(transaction, [label.key for label in waiting])
    return list(pending_labels(transaction, found, skip_locked=True).values()) if found else []


def expired_labels(
    transaction: Transaction, namespace: str, model: str, received_before_s: float, limit: int
) -> list[PendingLabel]:
    """Labels of one model that waited too long and that nobody is about to join, locked."""
    table = schema.labels_pending.c
    statement = select(schema.labels_pending).where(
        table.namespace == namespace, table.model == model, table.received_at_s < received_before_s
    )
    statement = statement.limit(limit).with_for_update(skip_locked=True)
    return [_pending(values) for values in transaction.connection.execute(statement)]


def _pending(values: Sequence[object]) -> PendingLabel:
    namespace, model, request_id, row, label, observed_at_s, received_at_s = values
    key = LabelKey(str(namespace), str(model), str(request_id), int(str(row)))
    return PendingLabel(
        key, None if label is None else str(label), float(str(observed_at_s)), float(str(received_at_s))
    )


def prediction_columns() -> list[Column[Any]]:
    """What :func:`labelled_row` wants of a prediction."""
    return [schema.predictions.c[name] for name in _PREDICTION]


def label_columns() -> list[Column[Any]]:
    """What it wants behind these of the label in effect."""
    return [schema.labels.c[name] for name in _LABEL]


def labelled_row(stream: StreamKey, values: Sequence[Any]) -> LabelledRow:
    """A row out of the columns of a prediction and its label."""
    event_key, row, stream_id, *place = values[: len(_PREDICTION)]
    label, observed_at_s, wrong, judged, revision = values[len(_PREDICTION) :]
    time_s, start_s, end_s, segments, prediction, score = place
    return LabelledRow(
        event_key=event_key,
        row=row,
        stream_id=stream_id,
        stream=stream,
        time_s=time_s,
        window_start_s=start_s,
        window_end_s=end_s,
        segments=segments,
        prediction=prediction,
        score=score,
        label=label,
        label_time_s=observed_at_s,
        wrong=wrong,
        judged=judged or 0,
        revision=revision or 0,
    )


class _Wanted:
    """Which rows are still looked for."""

    def __init__(self, keys: Sequence[LabelKey]) -> None:
        self.keys = set(keys)
        self.request_ids = {key_of(request_id): request_id for request_id in {key.request_id for key in keys}}
        self._keys_of_ids = {request_id: key for key, request_id in self.request_ids.items()}

    def drop(self, found: Iterable[LabelKey]) -> None:
        """These are found."""
        self.keys = self.keys.difference(found)

    def pairs(self) -> list[tuple[str, int]]:
        """Request key and row of everything that is looked for, sorted."""
        return sorted({(self._keys_of_ids[key.request_id], key.row) for key in self.keys})


def _rows_by_request(transaction: Transaction, wanted: _Wanted) -> Iterator[Iterable[Row[Any]]]:
    """Rows that may be wanted: first of the days that their ids tell, then of all days for what was not found."""
    connection = transaction.connection
    if connection.dialect.name == "sqlite":
        rows, label = schema.predictions.c, schema.labels.c
        statement = (
            select(
                rows.request_key,
                *(rows[name] for name in _PREDICTION),
                *(label[name] for name in _LABEL),
                rows.event_id,
            )
            .outerjoin_from(schema.predictions, schema.labels, newest_label())
            .where(is_any_of(connection, rows.request_key, sorted(wanted.request_ids)))
        )
        numbers = sorted({key.row for key in wanted.keys})
        if len(numbers) <= _ROW_NUMBERS_IN_QUERY:
            statement = statement.where(rows.row.in_(numbers))
        yield connection.execute(statement)
        return
    days = transaction.held_days()
    by_day: dict[int | None, list[tuple[str, int]]] = {}
    for pair in wanted.pairs():
        by_day.setdefault(day_of(pair[0]), []).append(pair)
    for day in days:
        if day in by_day:
            yield _rows_of_day(connection, day, by_day[day])
    for day in reversed(days):
        if not wanted.keys:
            return
        seen = set(by_day.get(day, ()))
        yield _rows_of_day(connection, day, [pair for pair in wanted.pairs() if pair not in seen])


def _rows_of_day(connection: Connection, day: int, pairs: Sequence[tuple[str, int]]) -> Iterable[Row[Any]]:
    keys = "{" + ",".join([key for key, _ in pairs]) + "}"
    rows = "{" + ",".join([str(row) for _, row in pairs]) + "}"
    return connection.execute(_day_statement(day), {"keys": keys, "rows": rows})


def _day_statement(day: int) -> TextualSelect:
    columns = ", ".join(
        ["p.request_key", *(f"p.{name}" for name in _PREDICTION), *(f"l.{name}" for name in _LABEL), "p.event_id"]
    )
    statement = text(
        f"SELECT {columns} "  # noqa: S608 - names of our own tables
        "FROM unnest(CAST(:keys AS uuid[]), CAST(:rows AS integer[])) AS k (request_key, row) "
        f"JOIN {partition_name('predictions', day)} p ON p.request_key = k.request_key AND p.row = k.row "
        f"LEFT JOIN LATERAL (SELECT * FROM {partition_name('labels', day)} m "
        "WHERE m.event_key = p.event_key AND m.row = p.row AND m.time_s = p.time_s "
        "ORDER BY m.revision DESC LIMIT 1) l ON true"
    )
    rows, label = schema.predictions.c, schema.labels.c
    return statement.columns(
        rows.request_key, *(rows[name] for name in _PREDICTION), *(label[name] for name in _LABEL), rows.event_id
    )


def newest_label() -> ColumnElement[bool]:
    """Joins each prediction with its label in effect, where there is one."""
    rows, label = schema.predictions.c, schema.labels.c
    newer = schema.labels.alias("newer").c
    newest = (
        select(func.max(newer.revision))
        .where(newer.event_key == rows.event_key, newer.row == rows.row, newer.time_s == rows.time_s)
        .scalar_subquery()
    )
    same = and_(label.event_key == rows.event_key, label.row == rows.row, label.time_s == rows.time_s)
    return and_(same, label.revision == newest)
