"""Rows of a window with their input columns, some of many, for tests that counts are not enough for.

Rows are chosen by a hash of their key: those of the smallest hashes. So a window's rows are the same in whatever order,
batches and partitions they came, on either database, and after a replay; of two samples put together the smallest are
the sample of the whole; a row that is erased leaves its place to the next. Of several windows each has as many of the
rows as it has of all.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, and_, cast, func, or_, select, true

from collector.store import schema
from collector.store.row_columns import RowLayout, unpack_rows
from collector.store.windows import find_stream
from driftline.columns import ColumnBatch
from driftline.results import ALL_ROWS, WindowKey


def window_rows(connection: Connection, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
    """At most ``limit`` rows of windows of one segment, fewer where rows are kept without their columns, or no more."""
    if not keys:
        return ColumnBatch(0)
    rows, apart = schema.predictions.c, schema.prediction_columns.c
    rank = func.md5(cast(rows.event_key, Text) + "/" + cast(rows.row, Text))
    chosen = (
        select(rows.event_key, rows.row, rows.time_s)
        .where(or_(*(_of_window(connection, key) for key in keys)), _of_segment(keys[0].segment))
        .order_by(rank, rows.row)
        .limit(limit)
        .subquery()
    )
    same = (apart.time_s == chosen.c.time_s) & (apart.event_key == chosen.c.event_key) & (apart.row == chosen.c.row)
    # The window's times are said again: they name the days, and the part of each, that are looked at.
    statement = select(apart.columns).join_from(chosen, schema.prediction_columns, same)
    spans = sorted({(key.start_s, key.end_s) for key in keys})
    statement = statement.where(or_(*(and_(apart.time_s >= start_s, apart.time_s < end_s) for start_s, end_s in spans)))
    packed = [bytes(columns) for (columns,) in connection.execute(statement)]
    layouts = {number: RowLayout.read(spelt) for number, spelt in connection.execute(select(schema.row_layouts))}
    return unpack_rows(layouts, packed)


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
