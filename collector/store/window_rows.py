"""Rows of a window with their input columns, some of many, for what counts are not enough for.

Rows are chosen by a hash of their key: those of the smallest hashes. So a window's rows are the same in whatever order,
batches and partitions they came, and after a replay; of two samples put together the smallest are
the sample of the whole; a row that is erased leaves its place to the next. Of several windows each has as many of the
rows as it has of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    true,
)

from collector.store import schema
from collector.store.judged import judged_batch
from collector.store.labels import newest_label
from collector.store.queries import partly_erased
from collector.store.row_columns import RowLayout, is_readable, unpack_rows
from collector.store.transaction import Transaction
from collector.store.windows import find_stream
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, WindowKey

#: Packed columns, prediction, score, label, key of the event.
_Labelled = tuple[Any, ...]
_SAID = ("prediction", "score", "label", "event_key")


def window_rows(connection: Connection, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
    """At most ``limit`` rows of windows of one segment, fewer where rows are kept without their columns, or no more."""
    if not keys:
        return ColumnBatch(0)
    rows = schema.predictions.c
    statement = select(rows.event_key, rows.row, rows.time_s).where(*_of_windows(connection, keys))
    chosen = statement.order_by(_rank(connection, rows.row), rows.row).limit(limit)
    packed = [bytes(columns) for (columns,) in connection.execute(_with_columns(chosen, keys, ()))]
    return unpack_rows(_layouts(connection), packed)


def labelled_rows(
    connection: Connection, monitor: Monitor, key: WindowKey, limit: int
) -> tuple[ColumnBatch, JudgedBatch]:
    """At most ``limit`` rows of a window that have a prediction and a label: their columns, and both, row by row.

    Of a ranking whole queries, all candidates of each that has any label.
    """
    layouts = _layouts(connection)
    if monitor.task == "ranking":
        found = _candidates(connection, key, limit)
    else:
        found = _rows_with_labels(connection, key, limit)
    found = [values for values in found if is_readable(layouts, values[0])]
    packed, predictions, scores, labels, events = (
        (list(part) for part in zip(*found, strict=True)) if found else ([],) * 5
    )
    judged = judged_batch(monitor, predictions, scores, labels, np.ones(len(found), dtype=np.int64))
    if monitor.task == "ranking":
        numbers = {event: number for number, event in enumerate(dict.fromkeys(events))}
        judged = replace(judged, query=np.array([numbers[event] for event in events], dtype=np.int64))
    return unpack_rows(layouts, packed), judged


def _rows_with_labels(connection: Connection, key: WindowKey, limit: int) -> list[_Labelled]:
    rows, label = schema.predictions.c, schema.labels.c
    chosen = (
        select(rows.time_s, rows.row, rows.prediction, rows.score, label.label, rows.event_key)
        .join_from(schema.predictions, schema.labels, newest_label())
        .where(*_of_windows(connection, [key]), label.time_s >= key.start_s, label.time_s < key.end_s)
        .where(rows.prediction.is_not(None), label.label.is_not(None))
        .order_by(_rank(connection, rows.row), rows.row)
        .limit(limit)
    )
    return [(bytes(columns), *values) for columns, *values in connection.execute(_with_columns(chosen, [key], _SAID))]


def _candidates(connection: Connection, key: WindowKey, limit: int) -> list[_Labelled]:
    """Queries by a hash of their own; without the last, which the limit may have cut, and without those that rows were
    erased of: their order was another.
    """
    rows, label, any_label = schema.predictions.c, schema.labels.c, schema.labels.alias("any_label").c
    rank = _rank(connection, literal(0))
    some = exists().where(any_label.event_key == rows.event_key, any_label.time_s == rows.time_s)
    chosen = (
        select(rows.time_s, rows.row, rows.prediction, rows.score, label.label, rows.event_key, rank.label("rank"))
        .outerjoin_from(schema.predictions, schema.labels, newest_label())
        .where(*_of_windows(connection, [key]), some)
        .order_by(rank, rows.row)
        .limit(limit)
    )
    statement = _with_columns(chosen, [key], (*_SAID, "rank", "row"))
    found = [(bytes(columns), *values) for columns, *values in connection.execute(statement)]
    found.sort(key=lambda values: (values[5], values[6]))
    cut = {found[-1][4]} if len(found) == limit else set()
    left_out = cut | partly_erased(Transaction(connection), sorted({values[4] for values in found}))
    return [values[:5] for values in found if values[4] not in left_out]


def _rank(connection: Connection, number: ColumnElement[int]) -> ColumnElement[Any]:
    """The hash of an event's key and a number: MD5 costs PostgreSQL ten times as much as the hash it has for keys."""
    key = schema.predictions.c.event_key
    if connection.dialect.name == "sqlite":
        return func.md5(key + "/" + cast(number, Text))
    return func.uuid_hash_extended(key, cast(number, BigInteger))


def _with_columns(rows: Select[Any], keys: Sequence[WindowKey], names: Sequence[str]) -> Select[Any]:
    """The packed columns of chosen rows, and what these have under ``names``."""
    chosen, apart = rows.subquery(), schema.prediction_columns.c
    same = (apart.time_s == chosen.c.time_s) & (apart.event_key == chosen.c.event_key) & (apart.row == chosen.c.row)
    # The windows' times are said again: they name the days, and the part of each, that are looked at.
    spans = sorted({(key.start_s, key.end_s) for key in keys})
    return (
        select(apart.columns, *(chosen.c[name] for name in names))
        .join_from(chosen, schema.prediction_columns, same)
        .where(or_(*(and_(apart.time_s >= start_s, apart.time_s < end_s) for start_s, end_s in spans)))
    )


def _layouts(connection: Connection) -> Mapping[int, RowLayout]:
    return {number: RowLayout.read(spelt) for number, spelt in connection.execute(select(schema.row_layouts))}


def _of_windows(connection: Connection, keys: Sequence[WindowKey]) -> tuple[ColumnElement[bool], ...]:
    return or_(*(_of_window(connection, key) for key in keys)), _of_segment(keys[0].segment)


def _of_window(connection: Connection, key: WindowKey) -> ColumnElement[bool]:
    rows = schema.predictions.c
    return and_(
        rows.stream_id == find_stream(connection, key.stream),
        rows.time_s >= key.start_s,
        rows.time_s < key.end_s,
        rows.window_start_s == key.start_s,
        rows.window_end_s == key.end_s,
    )


def _of_segment(segment: str) -> ColumnElement[bool]:
    """Rows whose list of segments has it: in JSON a text with its quotes is never a part of another."""
    segments = schema.predictions.c.segments
    if segment == ALL_ROWS:
        return true()
    spelt = msgspec.json.encode(segment).decode()
    return func.replace(segments, spelt, "") != segments  # LIKE takes capitals for small letters on SQLite
