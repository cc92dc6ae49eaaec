"""What people and pages are shown: results, samples, shapes, streams, counters, dead letters."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Text, cast, func, select, tuple_

from collector.store import schema
from collector.store.database import reading
from collector.store.labels import newest_label
from collector.store.row_columns import RowLayout, layout_number, unpack
from collector.store.transaction import DeadLetter, TotalKey
from collector.store.windows import find_stream
from driftline import names
from driftline.results import (
    ColumnShape,
    Interval,
    Result,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
)

_STREAM = tuple(schema.streams.c[name] for name in ("namespace", "model", "version", "variant"))
#: Event key, row and time; then request id, prediction, outlier score and trace parent.
_Place = tuple[str, int, float]
_Found = Sequence[Any]
_SCORE = 5
#: Rows that one statement asks for by their places.
_PLACES_IN_QUERY = 500


def newest_results(engine: Engine) -> list[Result]:
    """All results of the newest evaluated window of every stream and segment."""
    done = schema.window_evaluations.c
    newest = (
        select(done.stream_id, done.segment, func.max(done.start_s).label("start_s"))
        .group_by(done.stream_id, done.segment)
        .subquery()
    )
    statement = results_statement().join(
        newest,
        (newest.c.stream_id == done.stream_id)
        & (newest.c.segment == done.segment)
        & (newest.c.start_s == done.start_s),
    )
    with reading(engine) as connection:
        return [result_of(row) for row in connection.execute(statement)]


def results(engine: Engine, stream: StreamKey, since_s: float, until_s: float) -> list[Result]:
    """Newest revisions for windows that touch [since_s, until_s), by start, segment, column, detector."""
    done = schema.window_evaluations.c
    with reading(engine) as connection:
        statement = results_statement().where(
            done.stream_id == find_stream(connection, stream), done.end_s > since_s, done.start_s < until_s
        )
        return [result_of(row) for row in connection.execute(statement)]


def detector_results(
    engine: Engine, stream: StreamKey, segment: str, prefix: str, since_s: float, until_s: float
) -> list[Result]:
    """Newest revisions of detectors whose names begin so, of a segment's windows that begin in [since_s, until_s)."""
    done, found = schema.window_evaluations.c, schema.results.c
    with reading(engine) as connection:
        statement = (
            results_statement()
            .where(done.stream_id == find_stream(connection, stream), done.segment == segment)
            .where(done.start_s >= since_s, done.start_s < until_s)
            .where(found.detector.startswith(prefix, autoescape=True))
        )
        return [result_of(row) for row in connection.execute(statement)]


def verdict_counts(engine: Engine) -> dict[tuple[StreamKey, Verdict], int]:
    """Evaluated windows of all rows by stream and first verdict on drift."""
    counts = {}
    for (metric, labels), value in totals(engine).items():
        if metric == names.WINDOWS_EVALUATED.name:
            counts[StreamKey(*labels[:4]), Verdict(labels[4])] = value
    return counts


def shapes(engine: Engine, key: WindowKey) -> list[ColumnShape]:
    """The distributions of a window's columns, newest revision, in the order they were saved."""
    done, drawn = schema.window_evaluations.c, schema.shapes.c
    with reading(engine) as connection:
        statement = (
            select(drawn.column, drawn.shape)
            .join_from(schema.shapes, schema.window_evaluations, drawn.evaluation_id == done.id)
            .where(done.stream_id == find_stream(connection, key.stream), done.segment == key.segment)
            .where(done.start_s == key.start_s, done.end_s == key.end_s)
            .order_by(drawn.position)
        )
        found = connection.execute(statement).all()
    return [
        ColumnShape(column, *(tuple(part) for part in msgspec.msgpack.decode(shape, type=_Shape)))
        for column, shape in found
    ]


def samples(engine: Engine, stream: StreamKey, since_s: float, until_s: float, limit: int) -> list[SamplePayload]:
    """Stored rows of [since_s, until_s): wrong ones first, then by outlier score, newest first among equals.

    However many are wrong, half of the places are left for others that have a score: what is behind a rate of outliers.
    """
    with reading(engine) as connection:
        stream_id = find_stream(connection, stream)
        wrong = connection.execute(_samples_statement(stream_id, since_s, until_s, limit, wrong=True)).all()
        others = connection.execute(_samples_statement(stream_id, since_s, until_s, limit + len(wrong), wrong=False))
        found = _mixed(wrong, others.all(), limit)
        labels = _labels_in_effect(connection, found)
        columns = _stored_columns(connection, found)
        layouts = {number: RowLayout.read(spelt) for number, spelt in connection.execute(select(schema.row_layouts))}
    return [_sample(row, labels.get(_place(row)), columns.get(_place(row)), layouts) for row in found]


def streams(engine: Engine) -> list[StreamSummary]:
    """Every stream with its counts, in the order of its key."""
    spans = schema.stream_spans.c
    statement = (
        select(
            *_STREAM,
            func.sum(spans.rows),
            func.sum(spans.labelled_rows),
            func.min(spans.first_event_s),
            func.max(spans.last_event_s),
        )
        .join_from(schema.stream_spans, schema.streams, spans.stream_id == schema.streams.c.id)
        .group_by(*_STREAM)
        .order_by(*_STREAM)
    )
    with reading(engine) as connection:
        found = connection.execute(statement).all()
    return [
        StreamSummary(StreamKey(*key), int(rows), int(labelled), first_s or 0.0, last_s or 0.0)
        for *key, rows, labelled, first_s, last_s in found
    ]


def totals(engine: Engine) -> dict[TotalKey, int]:
    """Every persisted counter, summed over partitions."""
    table = schema.totals.c
    statement = select(table.metric, table.labels, func.sum(table.value)).group_by(table.metric, table.labels)
    with reading(engine) as connection:
        found = connection.execute(statement).all()
    return {
        TotalKey(metric, msgspec.json.decode(labels, type=tuple[str, ...])): int(value)
        for metric, labels, value in found
    }


def positions(engine: Engine) -> dict[str, int]:
    """How far every partition is committed."""
    table = schema.positions.c
    with reading(engine) as connection:
        found = connection.execute(select(table.partition, table.next_offset)).all()
    return {str(partition): int(offset) for partition, offset in found}


def dead_letters(engine: Engine, limit: int, *, model: str | None, reason: str | None) -> list[DeadLetter]:
    """Newest first, without more than ``limit``; of one model or reason where that is given."""
    table = schema.dead_letters.c
    statement = select(*(table[name] for name in DeadLetter.__slots__))
    if model is not None:
        statement = statement.where(table.model == model)
    if reason is not None:
        statement = statement.where(table.reason == reason)
    statement = statement.order_by(table.time_s.desc(), table.partition, table.offset.desc()).limit(limit)
    with reading(engine) as connection:
        return [_dead_letter(row) for row in connection.execute(statement)]


def dead_letter(engine: Engine, partition: str, offset: int) -> DeadLetter | None:
    """One dead letter by its place in the stream."""
    table = schema.dead_letters.c
    statement = select(*(table[name] for name in DeadLetter.__slots__))
    with reading(engine) as connection:
        row = connection.execute(statement.where(table.partition == partition, table.offset == offset)).one_or_none()
    return None if row is None else _dead_letter(row)


_Shape = tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]
_Columns = dict[str, str | float | None]


def results_statement(*, newest: bool = True) -> Select[Any]:
    """Results with stream and window, in the order that ``results`` promises; of the newest revisions, or of all."""
    done, found = schema.window_evaluations.c, schema.results.c
    statement = (
        select(*_STREAM, done.segment, done.start_s, done.end_s, *schema.results.c[1:])
        .join_from(schema.results, schema.window_evaluations, found.evaluation_id == done.id)
        .join(schema.streams, schema.streams.c.id == done.stream_id)
        .order_by(done.start_s, done.segment, found.column, found.detector, *_STREAM)
    )
    return statement.where(found.revision == done.revision) if newest else statement


def result_of(row: Row[Any]) -> Result:
    """A row of ``results_statement``."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row by name
    stream = StreamKey(values["namespace"], values["model"], values["version"], values["variant"])
    effect = values["effect"]
    return Result(
        window=WindowKey(stream, values["segment"], values["start_s"], values["end_s"]),
        column=values["column"],
        detector=values["detector"],
        kind=values["kind"],
        statistic=math.nan if values["statistic"] is None else values["statistic"],
        direction=values["direction"],
        verdict=Verdict(values["verdict"]),
        reason=values["reason"],
        sample_size=values["sample_size"],
        reference_size=values["reference_size"],
        p_value=values["p_value"],
        effect=None if effect is None else Interval(*msgspec.msgpack.decode(effect, type=tuple[float, float, float])),
        coverage=values["coverage"],
        reference_value=values["reference_value"],
        heavy_tails=bool(values["heavy_tails"]),
    )


def _samples_statement(
    stream_id: int | None, since_s: float, until_s: float, limit: int, *, wrong: bool
) -> Select[Any]:
    rows, label = schema.predictions.c, schema.labels.c
    statement = select(
        rows.event_key,
        rows.row,
        rows.time_s,
        func.coalesce(rows.request_id, cast(rows.request_key, Text)),
        rows.prediction,
        rows.outlier_score,
        rows.traceparent,
    ).where(rows.stream_id == stream_id, rows.time_s >= since_s, rows.time_s < until_s)
    if wrong:
        # The label's own stream and time are said again: its key begins with its time.
        statement = statement.join_from(schema.predictions, schema.labels, newest_label()).where(
            label.wrong == 1, label.stream_id == stream_id, label.time_s >= since_s, label.time_s < until_s
        )
    return statement.order_by(
        func.coalesce(rows.outlier_score, -1.0).desc(), rows.time_s.desc(), rows.event_key.desc(), rows.row
    ).limit(limit)


def _mixed(wrong: Sequence[_Found], every: Sequence[_Found], limit: int) -> list[_Found]:
    places = {_place(row) for row in wrong}
    others = [row for row in every if _place(row) not in places]
    scored = sum(row[_SCORE] is not None for row in others)
    kept = wrong[: max(limit - limit // 2, limit - scored)]
    return [*kept, *others][:limit]


def _place(row: _Found) -> _Place:
    return row[0], row[1], row[2]


def _labels_in_effect(connection: Connection, found: Sequence[_Found]) -> dict[_Place, str | None]:
    label = schema.labels.c
    statement = select(label.event_key, label.row, label.time_s, label.label).order_by(label.revision)
    return dict(_beside(connection, statement, label, found))


def _stored_columns(connection: Connection, found: Sequence[_Found]) -> dict[_Place, bytes]:
    apart = schema.prediction_columns.c
    statement = select(apart.event_key, apart.row, apart.time_s, apart.columns)
    return dict(_beside(connection, statement, apart, found))


def _beside(
    connection: Connection, statement: Select[Any], table: Any, found: Sequence[_Found]
) -> Iterator[tuple[_Place, Any]]:
    """What another table has on the rows ``found``; the last value of the statement, by their places."""
    for start in range(0, len(found), _PLACES_IN_QUERY):
        part = found[start : start + _PLACES_IN_QUERY]
        if connection.dialect.name == "sqlite":  # which would try every key with every time
            here: ColumnElement[bool] = tuple_(table.time_s, table.event_key).in_([(row[2], row[0]) for row in part])
        else:
            here = table.event_key.in_([row[0] for row in part]) & table.time_s.in_([row[2] for row in part])
        for key, row, time_s, value in connection.execute(statement.where(here)):
            yield (key, row, time_s), value


def _sample(row: _Found, label: str | None, columns: bytes | None, layouts: Mapping[int, RowLayout]) -> SamplePayload:
    _key, number, time_s, request_id, prediction, outlier_score, traceparent = row
    return SamplePayload(
        request_id=request_id,
        row=number,
        time_s=time_s,
        prediction=prediction or "",
        label=label,
        outlier_score=outlier_score,
        columns=_columns(columns, layouts),
        traceparent=traceparent,
    )


def _columns(stored: bytes | None, layouts: Mapping[int, RowLayout]) -> _Columns:
    if not stored:
        return {}
    if stored[:1] == b"{":  # a row of the first schema
        return msgspec.json.decode(stored, type=_Columns)
    layout = layouts.get(layout_number(bytes(stored)))
    return {} if layout is None else unpack(layout, bytes(stored))


def _dead_letter(row: Sequence[Any]) -> DeadLetter:
    letter = DeadLetter(*row)
    return replace(letter, raw=bytes(letter.raw))
