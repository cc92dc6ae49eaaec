"""The tables of the store, for SQLite and PostgreSQL alike.

A stream (namespace, model, version, variant) is a number here, so that a prediction row stays small. Times are seconds
since the epoch. Texts that are JSON are never searched inside. What several collectors write at the same time carries
the partition in its key, so that no two of them ever wait for, or overwrite, the same row.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

#: SQLite numbers its rows only where the key is spelt INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")
#: A key of ``collector.store.ids``, spelt as a UUID.
_Key = Text().with_variant(UUID(as_uuid=False), "postgresql")

streams = Table(
    "streams",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("variant", Text, nullable=False),
    UniqueConstraint("namespace", "model", "version", "variant"),
)

#: How far each partition is committed; the row every writer of the partition must move from where it last saw it.
positions = Table(
    "positions",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

#: Rows by the day of their event: on PostgreSQL these are partitioned by ``time_s`` (``collector.store.partitions``).
DAILY = ("predictions", "prediction_columns", "labels")

#: Never changed once written, and narrow, because labels look for rows here. An event is known by its id and its time.
predictions = Table(
    "predictions",
    metadata,
    Column("event_key", _Key, primary_key=True),  # collector.store.ids
    Column("row", Integer, primary_key=True),
    Column("time_s", Double, primary_key=True),
    Column("stream_id", BigInteger, nullable=False),
    Column("request_key", _Key, nullable=False),
    Column("window_start_s", Double, nullable=False),
    Column("window_end_s", Double, nullable=False),
    Column("segments", Text, nullable=False),  # JSON list of the segments besides "all rows"
    Column("prediction", Text),
    Column("score", Double),
    Column("outlier_score", Double),
    Column("valid", SmallInteger, nullable=False),
    Column("subject", _Key),  # collector.batches.subjects; NULL where the monitor names none
    Column("event_id", Text),  # NULL where it is its own key
    Column("request_id", Text),  # NULL where it is its own key
    Column("traceparent", Text),
    Index("ix_predictions_request", "request_key", "row"),
    Index("ix_predictions_stream_time", "stream_id", "time_s"),
    Index(
        "ix_predictions_subject",
        "subject",
        postgresql_where=text("subject IS NOT NULL"),
        sqlite_where=text("subject IS NOT NULL"),
    ),
    postgresql_partition_by="RANGE (time_s)",
)

#: The input columns of rows, apart from them: they are most of the bytes, and only people read them.
prediction_columns = Table(
    "prediction_columns",
    metadata,
    Column("time_s", Double, nullable=False),
    Column("event_key", _Key, nullable=False),
    Column("row", Integer, nullable=False),
    Column(
        "columns", LargeBinary, nullable=False
    ),  # packed by collector.store.row_columns; JSON in rows of the first schema
    Index("ix_prediction_columns_time", "time_s", postgresql_using="brin", postgresql_with={"pages_per_range": 16}),
    postgresql_partition_by="RANGE (time_s)",
)

#: Every label that took effect, by the time of its prediction; of a row's revisions the last is in effect.
#: One index does for the rows of an event and for the labels of a stretch of time: each more costs every label.
labels = Table(
    "labels",
    metadata,
    Column("event_key", _Key, nullable=False),
    Column("row", Integer, nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("time_s", Double, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    Column("label", Text),  # NULL: withdrawn
    Column("observed_at_s", Double, nullable=False),  # when the truth was known
    Column("received_at_s", Double),
    Column("wrong", SmallInteger),  # 1 when the label contradicts the prediction
    Column("judged", SmallInteger, nullable=False, server_default="1"),  # 1 once counted as correct or incorrect
    PrimaryKeyConstraint("time_s", "event_key", "row", "revision"),
    postgresql_partition_by="RANGE (time_s)",
)

#: What packed columns mean: the columns of a monitor, as they were when rows were stored.
row_layouts = Table(
    "row_layouts",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("columns", Text, nullable=False),  # JSON list of name and kind
)

#: Events that brought no rows (error answers), so that they too are counted once.
rowless_events = Table(
    "rowless_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("time_s", Double, primary_key=True),
    Column("stream_id", BigInteger, nullable=False),
    Column("status_code", Integer, nullable=False),
)

window_states = Table(
    "window_states",
    metadata,
    Column("stream_id", BigInteger, primary_key=True, autoincrement=False),
    Column("segment", Text, primary_key=True),
    Column("start_s", Double, primary_key=True),
    Column("end_s", Double, primary_key=True),
    Column("partition", Text, primary_key=True),
    Column("change", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
    # Holds all that the search for due windows reads, so that it never touches the states themselves.
    Index("ix_window_states_due", "stream_id", "end_s", "start_s", "segment", "change"),
)

window_evaluations = Table(
    "window_evaluations",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("stream_id", BigInteger, nullable=False),
    Column("segment", Text, nullable=False),
    Column("start_s", Double, nullable=False),
    Column("end_s", Double, nullable=False),
    Column("evaluated_change", Integer, nullable=False),
    Column("evaluated_at_s", Double, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("first_verdict", Text, nullable=False),
    UniqueConstraint("stream_id", "segment", "start_s", "end_s"),
    Index("ix_window_evaluations_start", "stream_id", "start_s"),
)

results = Table(
    "results",
    metadata,
    Column("evaluation_id", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True),
    Column("column", Text, primary_key=True),
    Column("detector", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("statistic", Double),
    Column("direction", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("sample_size", BigInteger, nullable=False),
    Column("reference_size", BigInteger, nullable=False),
    Column("p_value", Double),
    Column("effect", LargeBinary),  # msgpack of value, lower, upper; NULL: none
    Column("coverage", Double),
    Column("reference_value", Double),
    Column("heavy_tails", SmallInteger, nullable=False, server_default="0"),  # 1: its interval may hold less often
)

#: Shapes of the newest revision only: they are for drawing.
shapes = Table(
    "shapes",
    metadata,
    Column("evaluation_id", BigInteger, primary_key=True, autoincrement=False),
    Column("column", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("shape", LargeBinary, nullable=False),  # msgpack of bins, reference, current
)

labels_pending = Table(
    "labels_pending",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("label", Text),
    Column("observed_at_s", Double, nullable=False),
    Column("received_at_s", Double, nullable=False),
    Index("ix_labels_pending_received", "received_at_s"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Text),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("time_s", Double, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("event_time_s", Double),  # with event_id: which event it was
    Column("replayed_at_s", Double),  # when its event was stored after all
    Index("ix_dead_letters_time", "time_s"),
    Index("ix_dead_letters_event", "event_id"),
)

#: What was tried with a dead letter; attempt 0 is what made it one.
replay_attempts = Table(
    "replay_attempts",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at_s", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

#: Counters that must outlive a restart; the sum over partitions is the counter.
totals = Table(
    "totals",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # JSON list of label values, in the metric's order
    Column("value", BigInteger, nullable=False),
)

#: First and last event time and the row counts of a stream, per partition.
stream_spans = Table(
    "stream_spans",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("stream_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("labelled_rows", BigInteger, nullable=False),
    Column("first_event_s", Double),
    Column("last_event_s", Double),
)

#: The values of segment columns that are watched apart: the first ``maximum_segments`` seen.
segment_values = Table(
    "segment_values",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("column", Text, primary_key=True),
    Column("value", Text, primary_key=True),
)

payload_files = Table(
    "payload_files",
    metadata,
    Column("path", Text, primary_key=True),  # relative to the payload directory
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("first_event_s", Double, nullable=False),
    Column("last_event_s", Double, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Index("ix_payload_files_model", "namespace", "model", "last_event_s"),
)

pages = Table(
    "pages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("received_at_s", Double, nullable=False),
    Column("page", LargeBinary, nullable=False),  # msgpack
    Index("ix_pages_received", "received_at_s"),
)

#: Requests and answers that came as events of their own, each waiting for its other half.
waiting_halves = Table(
    "waiting_halves",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("pair", Text, nullable=False),  # what both halves share
    Column("kind", Text, nullable=False),  # request or response
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("received_at_s", Double, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("half", LargeBinary, nullable=False),  # msgpack
    Column("request_id", Text, nullable=False, server_default=""),
    Index("ix_waiting_halves_pair", "pair", "kind"),
    Index("ix_waiting_halves_due", "namespace", "model", "received_at_s"),
    Index("ix_waiting_halves_oldest", "received_at_s", "size_bytes"),
    Index("ix_waiting_halves_request", "namespace", "request_id"),
)

#: Halves that need not wait any more, remembered for a while so that a copy of one is known as such.
settled_halves = Table(
    "settled_halves",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("settled_at_s", Double, nullable=False),
    Index("ix_settled_halves_time", "settled_at_s"),
)

#: Business keys of stored predictions, for monitors that name one (``labels.key``).
prediction_keys = Table(
    "prediction_keys",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("time_s", Double, nullable=False),
    Index("ix_prediction_keys_time", "time_s"),
)

#: Labels that name a prediction by a business key which none has yet; ``row`` is 0 where every row has its own key.
labels_pending_keys = Table(
    "labels_pending_keys",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("label", Text),
    Column("observed_at_s", Double, nullable=False),
    Column("received_at_s", Double, nullable=False),
    Index("ix_labels_pending_keys_received", "received_at_s"),
)

#: Rows, labelled rows and delays of first labels per window, whole and by segment; the sum over partitions counts.
window_counts = Table(
    "window_counts",
    metadata,
    Column("stream_id", BigInteger, primary_key=True, autoincrement=False),
    Column("start_s", Double, primary_key=True),
    Column("end_s", Double, primary_key=True),
    Column("partition", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # rows, labelled, delay/NUMBER of the class; |SEGMENT
    Column("value", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 50},  # room for a row's next version on its page, which then enters no index again
)

#: What was known of a window's labels at each revision of its results.
window_revisions = Table(
    "window_revisions",
    metadata,
    Column("evaluation_id", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True),
    Column("evaluated_at_s", Double, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("maturity", Double),
    Column("mature", SmallInteger),
)

#: Files of labels that were uploaded, and how far each is joined; the file itself lies beside the collector.
label_uploads = Table(
    "label_uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),  # waiting, done, failed, cancelled
    Column("name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("options", Text, nullable=False),  # JSON object: which columns hold what
    Column("received_at_s", Double, nullable=False),
    Column("finished_at_s", Double),
    Column("rows_total", BigInteger),  # where the file says it
    Column("rows_read", BigInteger, nullable=False),
    Column("bytes_read", BigInteger, nullable=False),
    Column("outcomes", Text, nullable=False),  # JSON object of counts
    Column("faults", Text, nullable=False),  # JSON list of the first faults
    Column("error", Text),
    Index("ix_label_uploads_received", "received_at_s"),
)

#: Who had what erased. Can only grow: triggers refuse everything else.
audit = Table(
    "audit",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("at_s", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("selector", Text, nullable=False),  # request_id or subject
    Column("digest", Text, nullable=False),  # of what was selected, never itself
    Column("removed", Text, nullable=False),  # JSON object of counts by kind
)

#: What was erased and may arrive once more; ``number`` only grows, so that each batch asks for what is new alone.
erased = Table(
    "erased",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),  # request_id or subject
    Column("digest", Text, nullable=False),  # the key of the request id, or the keyed hash of the subject
    Column("at_s", Double, nullable=False),
    UniqueConstraint("namespace", "model", "kind", "digest"),
    sqlite_autoincrement=True,
)

#: What only one of several collectors does at a time, and who does it until when.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_s", Double, nullable=False),
)
