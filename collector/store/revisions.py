"""Revisions of a window's results: what was concluded each time, and what was known of its labels then."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, Row, select

from collector.store import schema
from collector.store.database import reading
from collector.store.reads import result_of, results_statement
from collector.store.windows import find_stream
from driftline.results import Result, Revision, WindowKey


def revisions(engine: Engine, key: WindowKey) -> list[Revision]:
    """Every revision of a window with its results, the oldest first."""
    done, told = schema.window_evaluations.c, schema.window_revisions.c
    with reading(engine) as connection:
        here = (
            done.stream_id == find_stream(connection, key.stream),
            done.segment == key.segment,
            done.start_s == key.start_s,
            done.end_s == key.end_s,
        )
        rows = connection.execute(
            select(schema.window_revisions)
            .join_from(schema.window_revisions, schema.window_evaluations, told.evaluation_id == done.id)
            .where(*here)
            .order_by(told.revision)
        ).all()
        found = connection.execute(results_statement(newest=False).where(*here)).all()
    by_revision: dict[int, list[Result]] = {}
    for row in found:
        by_revision.setdefault(row.revision, []).append(result_of(row))
    return [replace(_revision(row), results=tuple(by_revision.get(row.revision, ()))) for row in rows]


def _revision(row: Row[Any]) -> Revision:
    mature = None if row.mature is None else bool(row.mature)
    return Revision(row.revision, row.evaluated_at_s, row.rows, row.labelled, row.maturity, mature)
