"""Every label that took effect on the rows of one request."""

from typing import NamedTuple

from sqlalchemy import Connection, and_, select

from collector.store import schema
from collector.store.database import key_text
from collector.store.ids import key_of


class HistoricLabel(NamedTuple):
    """One revision of a row's label, beside what was predicted."""

    row: int
    revision: int
    value: str | None
    observed_at_s: float
    received_at_s: float | None
    wrong: bool | None
    prediction: str | None
    time_s: float


def label_history(connection: Connection, namespace: str, model: str, request_id: str) -> list[HistoricLabel]:
    """By time of the prediction, row and revision."""
    rows, label, streams = schema.predictions.c, schema.labels.c, schema.streams.c
    same = and_(label.event_key == rows.event_key, label.row == rows.row, label.time_s == rows.time_s)
    statement = (
        select(
            rows.row,
            label.revision,
            label.label,
            label.observed_at_s,
            label.received_at_s,
            label.wrong,
            rows.prediction,
            rows.time_s,
        )
        .join_from(schema.predictions, schema.labels, same)
        .join(schema.streams, rows.stream_id == streams.id)
        .where(rows.request_key == key_of(key_text(request_id)), streams.namespace == namespace, streams.model == model)
        .order_by(rows.time_s, rows.row, label.revision)
    )
    return [
        HistoricLabel(
            row, revision, value, observed_s, received_s, None if wrong is None else bool(wrong), said, time_s
        )
        for row, revision, value, observed_s, received_s, wrong, said, time_s in connection.execute(statement)
    ]
