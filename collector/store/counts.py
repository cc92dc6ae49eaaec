"""Rows, labels and delays per window, as whole numbers that writers add to."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from collector.store import schema
from collector.store.bulk import upsert_tuples
from collector.store.transaction import Transaction, WindowRef
from driftline.results import StreamKey, WindowLabels

ROWS = "rows"
LABELLED = "labelled"
#: Followed by the number of a class of delay, see ``driftline.maturity``.
DELAY = "delay/"

#: (window of all rows, kind) -> count.
WindowCounts = Counter[tuple[WindowRef, str]]


def add_window_counts(transaction: Transaction, partition: str, counts: Mapping[tuple[WindowRef, str], int]) -> None:
    """Add to the counts of windows, under one partition."""
    rows = [
        (window.stream_id, window.start_s, window.end_s, partition, kind, count)
        for (window, kind), count in sorted(counts.items())
        if count
    ]
    columns = ("stream_id", "start_s", "end_s", "partition", "kind", "value")
    changes = {"value": "window_counts.value + excluded.value"}
    upsert_tuples(transaction.connection, schema.window_counts, columns, rows, changes)


def label_windows(connection: Connection, namespace: str, model: str, since_s: float) -> list[WindowLabels]:
    """The windows of a model that end after ``since_s``, by stream and start."""
    counts, streams = schema.window_counts.c, schema.streams.c
    window = (streams.namespace, streams.model, streams.version, streams.variant, counts.start_s, counts.end_s)
    statement = (
        select(*window, counts.kind, func.sum(counts.value))
        .join_from(schema.window_counts, schema.streams, counts.stream_id == streams.id)
        .where(streams.namespace == namespace, streams.model == model, counts.end_s > since_s)
        .group_by(*window, counts.kind)
        .order_by(*window)
    )
    found: dict[tuple[StreamKey, float, float], dict[str, int]] = {}
    for *stream, start_s, end_s, kind, value in connection.execute(statement):
        found.setdefault((StreamKey(*stream), start_s, end_s), {})[kind] = int(value)
    return [
        WindowLabels(stream, start_s, end_s, values.get(ROWS, 0), values.get(LABELLED, 0), _delays(values))
        for (stream, start_s, end_s), values in found.items()
    ]


def _delays(values: Mapping[str, int]) -> dict[int, int]:
    return {int(kind.removeprefix(DELAY)): value for kind, value in values.items() if kind.startswith(DELAY)}
