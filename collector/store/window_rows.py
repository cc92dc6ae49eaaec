"""Rows of a window with their input columns, some of many, for what counts are not enough for.

Rows are chosen by a hash of their key: those of the smallest hashes. So a window's rows are the same in whatever order,
batches and partitions they came, on either database, and after a replay; of two samples put together the smallest are
the sample of the whole; a row that is erased leaves its place to the next. Of several windows each has as many of the
rows as it has of all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, or_, select, true

from collector.store import schema
from collector.store.judged import judged_batch
from collector.store.labels import newest_label
from collector.store.row_columns import RowLayout, is_readable, unpack_rows
from collector.store.windows import find_stream
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, WindowKey


def window_rows(connection: Connection, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
    """At most ``limit`` rows of windows of one segment, fewer where rows are kept without their columns, or no more."""
    if not keys:
        return ColumnBatch(0)
    rows = schema.predictions.c
    statement = select(rows.event_key, rows.row, rows.time_s).where(*_of_windows(connection, keys))
    chosen = statement.order_by(_rank(), rows.row).limit(limit)
    packed = [bytes(columns) for (columns,) in connection.execute(_with_columns(chosen, keys, ()))]
    return unpack_rows(_layouts(connection), packed)


def labelled_rows(
    connection: Connection, monitor: Monitor, key: WindowKey, limit: int
) -> tuple[ColumnBatch, JudgedBatch]:
    """At most ``limit`` rows of a window that have a prediction and a label: their columns, and both, row by row."""
    rows, label = schema.predictions.c, schema.labels.c
    said = (rows.prediction, rows.score, label.label)
    chosen = (
        select(rows.event_key, rows.row, rows.time_s, *said)
        .join_from(schema.predictions, schema.labels, newest_label())
        .where(*_of_windows(connection, [key]), label.time_s >= key.start_s, label.time_s < key.end_s)
        .where(rows.prediction.is_not(None), label.label.is_not(None))
        .order_by(_rank(), rows.row)
        .limit(limit)
    )
    layouts = _layouts(connection)
    names = [column.name for column in said]
    found = [
        (bytes(columns), *values)
        for columns, *values in connection.execute(_with_columns(chosen, [key], names))
        if is_readable(layouts, bytes(columns))
    ]
    packed, predictions, scores, labels = (list(part) for part in zip(*found, strict=True)) if found else ([],) * 4
    weight = np.ones(len(found), dtype=np.int64)
    return unpack_rows(layouts, packed), judged_batch(monitor, predictions, scores, labels, weight)


def _rank() -> ColumnElement[str]:
    rows = schema.predictions.c
    return func.md5(cast(rows.event_key, Text) + "/" + cast(rows.row, Text))


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
