"""The store's part in evaluation: which windows are due, their states, and keeping what was concluded."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update

from collector.store import schema
from collector.store.bulk import insert_columns, insert_tuples
from collector.store.database import reading, writing
from collector.store.transaction import Transaction, total
from driftline import names
from driftline.errors import PermanentError
from driftline.monitors import Monitor
from driftline.result_columns import ResultColumns
from driftline.results import (
    ALL_ROWS,
    WHOLE_WINDOW,
    ColumnShape,
    DueWindow,
    Interval,
    LabelState,
    PastWindow,
    Result,
    StreamKey,
    Verdict,
    WindowKey,
)
from driftline.shape_columns import ShapeColumns

#: The partition that the evaluation job's counters are kept under.
DETECTORS = "detectors"

_SEVERITY = (Verdict.NOT_ENOUGH_EVIDENCE, Verdict.OK, Verdict.WARNING, Verdict.DRIFTED)


def due_windows(engine: Engine, monitor: Monitor, now_s: float) -> list[DueWindow]:
    """Windows whose lateness is over and whose statistics changed since they were evaluated, oldest first."""
    states, done, streams = schema.window_states.c, schema.window_evaluations.c, schema.streams.c
    window = (states.stream_id, states.end_s, states.start_s, states.segment)
    changes = (
        select(*window, func.sum(states.change).label("change"))
        .join_from(schema.window_states, schema.streams, states.stream_id == streams.id)
        .where(streams.namespace == monitor.namespace, streams.model == monitor.model)
        .where(states.end_s <= now_s - monitor.windows.lateness)
        .group_by(*window)
        .subquery()
    )
    same = and_(
        done.stream_id == changes.c.stream_id,
        done.segment == changes.c.segment,
        done.start_s == changes.c.start_s,
        done.end_s == changes.c.end_s,
    )
    statement = (
        select(streams.namespace, streams.model, streams.version, streams.variant, changes)
        .join_from(changes, schema.streams, changes.c.stream_id == streams.id)
        .outerjoin(schema.window_evaluations, same)
        .where(or_(done.evaluated_change.is_(None), done.evaluated_change < changes.c.change))
        .order_by(changes.c.start_s, changes.c.stream_id, changes.c.segment)
    )
    with reading(engine) as connection:
        found = connection.execute(statement).all()
    return [
        DueWindow(WindowKey(StreamKey(*stream), segment, start_s, end_s), int(change))
        for *stream, _stream_id, end_s, start_s, segment, change in found
    ]


def window_states(engine: Engine, key: WindowKey) -> list[bytes]:
    """The states of one window, one per partition."""
    states = schema.window_states.c
    with reading(engine) as connection:
        stream_id = find_stream(connection, key.stream)
        statement = (
            select(states.state)
            .where(states.stream_id == stream_id, states.segment == key.segment)
            .where(states.start_s == key.start_s, states.end_s == key.end_s)
            .order_by(states.partition)
        )
        return [bytes(state) for (state,) in connection.execute(statement)]


def stream_windows(engine: Engine, stream: StreamKey, segment: str, since_s: float, until_s: float) -> list[DueWindow]:
    """Every window of a stream's segment within [since_s, until_s], with its changes so far, oldest first."""
    states = schema.window_states.c
    with reading(engine) as connection:
        statement = (
            select(states.start_s, states.end_s, func.sum(states.change))
            .where(states.stream_id == find_stream(connection, stream), states.segment == segment)
            .where(states.start_s >= since_s, states.end_s <= until_s)
            .group_by(states.start_s, states.end_s)
            .order_by(states.start_s, states.end_s)
        )
        return [
            DueWindow(WindowKey(stream, segment, start_s, end_s), int(change))
            for start_s, end_s, change in connection.execute(statement)
        ]


def window_p_values(engine: Engine, stream: StreamKey, segment: str, since_s: float, until_s: float) -> list[float]:
    """The p-values of whole windows that begin in [since_s, until_s), as last evaluated, oldest first."""
    done, found = schema.window_evaluations.c, schema.results.c
    with reading(engine) as connection:
        statement = (
            select(found.p_value)
            .join_from(schema.window_evaluations, schema.results, found.evaluation_id == done.id)
            .where(done.stream_id == find_stream(connection, stream), done.segment == segment)
            .where(done.start_s >= since_s, done.start_s < until_s, found.revision == done.revision)
            .where(found.column == WHOLE_WINDOW, found.kind == "drift", found.p_value.is_not(None))
            .order_by(done.start_s, done.end_s)
        )
        return [float(p_value) for (p_value,) in connection.execute(statement)]


def past_windows(engine: Engine, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> list[PastWindow]:
    """Those evaluated windows of a segment that begin at one of these times, oldest first."""
    done = schema.window_evaluations.c
    with reading(engine) as connection:
        statement = (
            select(done.start_s, done.end_s, done.first_verdict)
            .where(done.stream_id == find_stream(connection, stream), done.segment == segment)
            .where(done.start_s.in_(starts_s))
            .order_by(done.start_s, done.end_s)
        )
        return [
            PastWindow(start_s, end_s, Verdict(verdict)) for start_s, end_s, verdict in connection.execute(statement)
        ]


def past_states(engine: Engine, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> list[bytes]:
    """The states of a segment's windows that begin at one of these times, of all partitions."""
    states = schema.window_states.c
    with reading(engine) as connection:
        statement = (
            select(states.state)
            .where(states.stream_id == find_stream(connection, stream), states.segment == segment)
            .where(states.start_s.in_(starts_s))
            .order_by(states.start_s, states.partition)
        )
        return [bytes(state) for (state,) in connection.execute(statement)]


def variant_windows(engine: Engine, key: WindowKey, variant: str) -> list[WindowKey]:
    """The same window and segment of another variant of the model, of each of its versions that has it."""
    found = window_keys(engine, key.stream.namespace, key.stream.model, key.start_s, key.end_s)
    same = (key.segment, key.start_s, key.end_s)
    return [
        other
        for other in found
        if other.stream.variant == variant and (other.segment, other.start_s, other.end_s) == same
    ]


def variant_states(engine: Engine, key: WindowKey, variant: str) -> list[bytes]:
    """The states of the same window and segment of another variant of the model, of all its versions."""
    states, streams = schema.window_states.c, schema.streams.c
    statement = (
        select(states.state)
        .join_from(schema.window_states, schema.streams, states.stream_id == streams.id)
        .where(streams.namespace == key.stream.namespace, streams.model == key.stream.model)
        .where(streams.variant == variant, states.segment == key.segment)
        .where(states.start_s == key.start_s, states.end_s == key.end_s)
        .order_by(streams.version, states.partition)
    )
    with reading(engine) as connection:
        return [bytes(state) for (state,) in connection.execute(statement)]


def window_keys(engine: Engine, namespace: str, model: str, since_s: float, until_s: float) -> list[WindowKey]:
    """Every window of a model that lies within [since_s, until_s], with its segments, oldest first."""
    states, streams = schema.window_states.c, schema.streams.c
    statement = (
        select(streams.namespace, streams.model, streams.version, streams.variant, states.segment)
        .add_columns(states.start_s, states.end_s)
        .distinct()
        .join_from(schema.window_states, schema.streams, states.stream_id == streams.id)
        .where(streams.namespace == namespace, streams.model == model)
        .where(states.start_s >= since_s, states.end_s <= until_s)
    )
    with reading(engine) as connection:
        found = [
            WindowKey(StreamKey(*stream), segment, start_s, end_s)
            for *stream, segment, start_s, end_s in connection.execute(statement)
        ]
    return sorted(found, key=lambda key: (key.start_s, key.stream, key.segment))


def save_results(
    engine: Engine,
    due: DueWindow,
    results: Sequence[Result],
    shapes: Sequence[ColumnShape],
    evaluated_at_s: float,
    labels: LabelState | None = None,
) -> None:
    """Keep a revision of a window's results in one transaction, with what is known of its labels; earlier ones stay.

    The first verdict on drift over all rows is counted, and never revised: it is what a person was told in time.
    Raises PermanentError when the window's stream is unknown.
    """
    told = ResultColumns.of(due.key, results)
    with writing(engine) as connection:
        stream_id = find_stream(connection, due.key.stream)
        if stream_id is None:
            raise PermanentError(f"results for unknown stream {due.key.stream}")
        evaluation_id, revision = _save_evaluation(connection, stream_id, due, told, evaluated_at_s)
        same = {"evaluation_id": [evaluation_id] * len(told), "revision": [revision] * len(told)}
        insert_columns(connection, schema.results, {**same, **_result_columns(told)})
        connection.execute(
            insert(schema.window_revisions).values(
                **_revision_values(evaluation_id, revision, evaluated_at_s, told, labels)
            )
        )
        connection.execute(delete(schema.shapes).where(schema.shapes.c.evaluation_id == evaluation_id))
        drawn = ShapeColumns.of(shapes)
        rows = [
            (evaluation_id, column, place, msgspec.msgpack.encode(shape))
            for place, (column, *shape) in enumerate(
                zip(drawn.column, drawn.bins, drawn.reference, drawn.current, strict=True)
            )
        ]
        insert_tuples(connection, schema.shapes, ("evaluation_id", "column", "position", "shape"), rows)


def _revision_values(
    evaluation_id: int, number: int, evaluated_at_s: float, results: ResultColumns, labels: LabelState | None
) -> dict[str, object]:
    whole = (results.sample_size[place] for place in results.places("drift", WHOLE_WINDOW))
    # What is estimated without labels has no coverage, and counts all rows.
    labelled = (
        size
        for size, kind, coverage in zip(results.sample_size, results.kind, results.coverage, strict=True)
        if kind == "performance" and coverage is not None
    )
    return {
        "evaluation_id": evaluation_id,
        "revision": number,
        "evaluated_at_s": evaluated_at_s,
        "rows": max(whole, default=0),
        "labelled": max(labelled, default=0),
        "maturity": None if labels is None else labels.maturity,
        "mature": None if labels is None else int(labels.mature),
    }


def first_verdict(results: ResultColumns) -> Verdict:
    """The verdict on the whole window's drift; without one, the most severe of its columns'."""
    drift = [place for place, kind in enumerate(results.kind) if kind == "drift"]
    verdicts = [results.verdict[place] for place in results.places("drift", WHOLE_WINDOW) or drift]
    return max(verdicts, key=_SEVERITY.index, default=Verdict.NOT_ENOUGH_EVIDENCE)


def find_stream(connection: Connection, stream: StreamKey) -> int | None:
    """The number of a stream, None when nothing of it was ever stored."""
    table = schema.streams.c
    statement = select(table.id).where(
        table.namespace == stream.namespace,
        table.model == stream.model,
        table.version == stream.version,
        table.variant == stream.variant,
    )
    return connection.execute(statement).scalar_one_or_none()


def _save_evaluation(
    connection: Connection, stream_id: int, due: DueWindow, results: ResultColumns, evaluated_at_s: float
) -> tuple[int, int]:
    table = schema.window_evaluations
    key = due.key
    old = connection.execute(
        select(table.c.id, table.c.revision)
        .where(table.c.stream_id == stream_id, table.c.segment == key.segment)
        .where(table.c.start_s == key.start_s, table.c.end_s == key.end_s)
        .with_for_update()
    ).one_or_none()
    latest = {"evaluated_change": due.change, "evaluated_at_s": evaluated_at_s}
    if old is not None:
        revision = old.revision + 1
        connection.execute(update(table).where(table.c.id == old.id).values(revision=revision, **latest))
        return old.id, revision
    verdict = first_verdict(results)
    window = {"stream_id": stream_id, "segment": key.segment, "start_s": key.start_s, "end_s": key.end_s}
    made = connection.execute(insert(table).values(**window, **latest, revision=1, first_verdict=verdict.value))
    if key.segment == ALL_ROWS:
        stream = key.stream
        counted = total(
            names.WINDOWS_EVALUATED, stream.namespace, stream.model, stream.version, stream.variant, verdict.value
        )
        Transaction(connection).add_totals(DETECTORS, {counted: 1})
    primary_key = made.inserted_primary_key
    assert primary_key is not None  # noqa: S101 - a single-row insert always has one
    return int(primary_key[0]), 1


def _result_columns(results: ResultColumns) -> dict[str, list[Any]]:
    """The results as the columns of their table."""
    return {
        **results.columns,
        "statistic": list(map(_number, results.statistic)),
        "verdict": [verdict.value for verdict in results.verdict],
        "sample_size": list(map(int, results.sample_size)),
        "reference_size": list(map(int, results.reference_size)),
        "p_value": list(map(_number, results.p_value)),
        "effect": list(map(_effect, results.effect)),
        "coverage": list(map(_number, results.coverage)),
        "reference_value": list(map(_number, results.reference_value)),
        "heavy_tails": list(map(int, results.heavy_tails)),
    }


def _effect(effect: Interval | None) -> bytes | None:
    if effect is None:
        return None
    return msgspec.msgpack.encode((float(effect.value), float(effect.lower), float(effect.upper)))


def _number(value: float | None) -> float | None:
    # SQLite keeps NaN as NULL; so does PostgreSQL here, that both answer alike.
    return None if value is None or math.isnan(value) else float(value)
