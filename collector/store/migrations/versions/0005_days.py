"""Predictions by day, their columns and labels apart; an event is known by its id and its time."""

import hashlib
import re
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DAILY = ("predictions", "prediction_columns", "labels")
_DAY_S = 86_400.0
_FIRST_DAY = 18_262  # 2020-01-01
_KEY = sa.Text().with_variant(postgresql.UUID(as_uuid=False), "postgresql")
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DIGEST = "encode(sha256(convert_to({0}, 'UTF8')), 'hex')"
_ANSWER = "stream_id, window_start_s, window_end_s, segments, prediction, score, outlier_score, valid, traceparent"


def upgrade() -> None:
    """Move every row; an id that is no UUID is kept beside its key."""
    sqlite = _is_sqlite()
    op.drop_index("ix_predictions_request_id", "predictions")
    op.drop_index("ix_predictions_stream_time", "predictions")
    op.rename_table("predictions", "predictions_0004")
    if not sqlite:
        op.execute("ALTER INDEX pk_predictions RENAME TO pk_predictions_0004")
    _create_daily()
    event, request = _key("event_id", sqlite=sqlite), _key("request_id", sqlite=sqlite)
    if not sqlite:
        for (day,) in op.get_bind().execute(
            sa.text("SELECT DISTINCT greatest(floor(time_s / 86400)::int, 18261) FROM predictions_0004")
        ):
            _create_partitions(int(day))
    op.execute(
        f"INSERT INTO predictions (event_key, row, time_s, request_key, event_id, request_id, {_ANSWER}) "
        f"SELECT {event}, row, time_s, {request}, "
        f"CASE WHEN {_is_key('event_id', sqlite=sqlite)} THEN NULL ELSE event_id END, "
        f"CASE WHEN {_is_key('request_id', sqlite=sqlite)} THEN NULL ELSE request_id END, {_ANSWER} "
        "FROM predictions_0004"
    )
    op.execute(
        "INSERT INTO prediction_columns (time_s, event_key, row, columns) "
        f"SELECT time_s, {event}, row, columns FROM predictions_0004 WHERE columns IS NOT NULL"
    )
    op.execute(
        "INSERT INTO labels (event_key, row, revision, time_s, stream_id, label, observed_at_s, wrong, judged) "
        f"SELECT {event}, row, 1, time_s, stream_id, label, label_time_s, wrong, judged "
        "FROM predictions_0004 WHERE label_time_s IS NOT NULL"
    )
    op.drop_table("predictions_0004")
    _key_rowless("event_id", "time_s")
    op.add_column("dead_letters", sa.Column("event_time_s", sa.Double()))


def downgrade() -> None:
    """Move every row back with its newest label; of events with one id the one stored first stays."""
    sqlite = _is_sqlite()
    op.drop_column("dead_letters", "event_time_s")
    if sqlite:
        op.execute(
            "DELETE FROM rowless_events WHERE rowid NOT IN (SELECT min(rowid) FROM rowless_events GROUP BY event_id)"
        )
    else:
        op.execute(
            "DELETE FROM rowless_events a USING rowless_events b WHERE a.event_id = b.event_id AND a.time_s > b.time_s"
        )
    _key_rowless("event_id")
    _create_flat("predictions_0004")
    text = "{0}" if sqlite else "{0}::text"
    op.execute(
        f"INSERT INTO predictions_0004 (event_id, row, time_s, request_id, {_ANSWER}, columns, label, label_time_s, "
        "wrong, judged) "
        f"SELECT coalesce(p.event_id, {text.format('p.event_key')}), p.row, p.time_s, "
        f"coalesce(p.request_id, {text.format('p.request_key')}), "
        + ", ".join(f"p.{name}" for name in _ANSWER.split(", "))
        + ", c.columns, l.label, l.observed_at_s, l.wrong, coalesce(l.judged, 0) FROM predictions p "
        "LEFT JOIN prediction_columns c ON c.event_key = p.event_key AND c.row = p.row AND c.time_s = p.time_s "
        "LEFT JOIN labels l ON l.event_key = p.event_key AND l.row = p.row AND l.time_s = p.time_s AND l.revision = "
        "(SELECT max(m.revision) FROM labels m WHERE m.event_key = p.event_key AND m.row = p.row "
        "AND m.time_s = p.time_s) "
        "WHERE true ORDER BY p.time_s ON CONFLICT DO NOTHING"
    )
    for name in _DAILY:
        op.drop_table(name)
    op.rename_table("predictions_0004", "predictions")
    if not sqlite:
        op.execute("ALTER INDEX pk_predictions_0004 RENAME TO pk_predictions")
    op.create_index("ix_predictions_request_id", "predictions", ["request_id", "row"])
    op.create_index("ix_predictions_stream_time", "predictions", ["stream_id", "time_s"])


def _create_daily() -> None:
    op.create_table(
        "predictions",
        sa.Column("event_key", _KEY, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("request_key", _KEY, nullable=False),
        *_answer_columns(),
        sa.Column("subject", _KEY),
        sa.Column("event_id", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.PrimaryKeyConstraint("event_key", "row", "time_s", name="pk_predictions"),
        postgresql_partition_by="RANGE (time_s)",
    )
    op.create_index("ix_predictions_request", "predictions", ["request_key", "row"])
    op.create_index("ix_predictions_stream_time", "predictions", ["stream_id", "time_s"])
    some = sa.text("subject IS NOT NULL")
    op.create_index("ix_predictions_subject", "predictions", ["subject"], postgresql_where=some, sqlite_where=some)
    op.create_table(
        "prediction_columns",
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("event_key", _KEY, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        postgresql_partition_by="RANGE (time_s)",
    )
    op.create_index(
        "ix_prediction_columns_time",
        "prediction_columns",
        ["time_s"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 16},
    )
    op.create_table(
        "labels",
        sa.Column("event_key", _KEY, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("observed_at_s", sa.Double(), nullable=False),
        sa.Column("received_at_s", sa.Double()),
        sa.Column("wrong", sa.SmallInteger()),
        sa.Column("judged", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_key", "row", "revision", "time_s", name="pk_labels"),
        postgresql_partition_by="RANGE (time_s)",
    )
    wrong = sa.text("wrong = 1")
    op.create_index("ix_labels_wrong", "labels", ["stream_id", "time_s"], postgresql_where=wrong, sqlite_where=wrong)


def _create_flat(name: str) -> None:
    op.create_table(
        name,
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        *_answer_columns(),
        sa.Column("traceparent", sa.Text()),
        sa.Column("columns", sa.LargeBinary()),
        sa.Column("label", sa.Text()),
        sa.Column("label_time_s", sa.Double()),
        sa.Column("wrong", sa.SmallInteger()),
        sa.Column("judged", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("event_id", "row", name=f"pk_{name}"),
    )


def _answer_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("window_start_s", sa.Double(), nullable=False),
        sa.Column("window_end_s", sa.Double(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.Column("prediction", sa.Text()),
        sa.Column("score", sa.Double()),
        sa.Column("outlier_score", sa.Double()),
        sa.Column("valid", sa.SmallInteger(), nullable=False),
    ]


def _key_rowless(*columns: str) -> None:
    if _is_sqlite():
        rows = "event_id, stream_id, time_s, status_code"
        op.rename_table("rowless_events", "rowless_events_old")
        op.create_table(
            "rowless_events",
            sa.Column("event_id", sa.Text(), nullable=False),
            sa.Column("time_s", sa.Double(), nullable=False),
            sa.Column("stream_id", sa.BigInteger(), nullable=False),
            sa.Column("status_code", sa.Integer(), nullable=False),
            sa.PrimaryKeyConstraint(*columns, name="pk_rowless_events"),
        )
        op.execute(f"INSERT INTO rowless_events ({rows}) SELECT {rows} FROM rowless_events_old")
        op.drop_table("rowless_events_old")
    else:
        op.drop_constraint("pk_rowless_events", "rowless_events")
        op.create_primary_key("pk_rowless_events", "rowless_events", list(columns))


def _create_partitions(day: int) -> None:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    suffix, start = ("before", "MINVALUE") if day < _FIRST_DAY else (f"{date:%Y%m%d}", repr(day * _DAY_S))
    for table in _DAILY:
        op.execute(
            f"CREATE TABLE {table}_{suffix} PARTITION OF {table} FOR VALUES FROM ({start}) TO ({(day + 1) * _DAY_S!r})"
        )


def _is_sqlite() -> bool:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return False
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a connection in use has one
    driver.create_function("key_0005", 1, _key_of, deterministic=True)
    return True


def _key(column: str, *, sqlite: bool) -> str:
    if sqlite:
        return f"key_0005({column})"
    digest = _DIGEST.format(column)
    parts = (1, 8), (9, 4), (14, 3), (18, 3), (21, 12)
    first, second, third, fourth, fifth = (f"substr({digest}, {start}, {length})" for start, length in parts)
    made = f"({first} || {second} || '8' || {third} || '8' || {fourth} || {fifth})::uuid"
    return f"CASE WHEN {_is_key(column, sqlite=False)} THEN {column}::uuid ELSE {made} END"


def _is_key(column: str, *, sqlite: bool) -> str:
    return f"key_0005({column}) = {column}" if sqlite else f"{column} ~ '{_UUID}'"


def _key_of(text: str) -> str:
    if re.fullmatch(_UUID, text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
