"""The store's part in labels: finding the predictions they speak of, and keeping those that came too early."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from collector import schema
from collector.database import is_any_of
from collector.transaction import Transaction, WindowRef
from driftline.results import StreamKey


class LabelKey(NamedTuple):
    """What a label speaks of."""

    namespace: str
    model: str
    request_id: str
    row: int


@dataclass(slots=True)
class LabelledRow:
    """A stored prediction as far as labels need it; ``label``, ``label_time_s``, ``wrong``, ``judged`` change."""

    event_id: str
    row: int
    stream_id: int
    stream: StreamKey
    time_s: float
    window_start_s: float
    window_end_s: float
    segments: str
    prediction: str | None
    score: float | None
    label: str | None
    label_time_s: float | None
    wrong: int | None
    judged: int

    def windows(self) -> Iterable[WindowRef]:
        """The row's window in every segment it belongs to."""
        for segment in ("", *msgspec.json.decode(self.segments, type=list[str])):
            yield WindowRef(self.stream_id, segment, self.window_start_s, self.window_end_s)


@dataclass(frozen=True, slots=True)
class PendingLabel:
    """A label without a prediction yet; ``label`` None: the withdrawal of one."""

    key: LabelKey
    label: str | None
    observed_at_s: float
    received_at_s: float


#: Labels for more different rows than this are picked out here, not by the database.
_ROW_NUMBERS_IN_QUERY = 100
_ROW_COLUMNS = (
    "event_id",
    "row",
    "stream_id",
    "time_s",
    "window_start_s",
    "window_end_s",
    "segments",
    "prediction",
    "score",
    "label",
    "label_time_s",
    "wrong",
    "judged",
)


def rows_to_label(transaction: Transaction, keys: Sequence[LabelKey]) -> dict[LabelKey, LabelledRow]:
    """The stored prediction of each key, locked; of several events with one request id, the newest.

    A request id that is used twice is a fault of the caller; the later event is the one its label most likely means.
    """
    rows, streams = schema.predictions.c, schema.streams.c
    wanted = set(keys)
    statement = (
        select(
            *(rows[name] for name in _ROW_COLUMNS),
            rows.request_id,
            streams.namespace,
            streams.model,
            streams.version,
            streams.variant,
        )
        .join_from(schema.predictions, schema.streams, rows.stream_id == streams.id)
        .where(is_any_of(transaction.connection, rows.request_id, sorted({key.request_id for key in wanted})))
        .order_by(rows.time_s, rows.event_id, rows.row)
        .with_for_update(of=schema.predictions)
    )
    row_numbers = sorted({key.row for key in wanted})
    if len(row_numbers) <= _ROW_NUMBERS_IN_QUERY:
        statement = statement.where(rows.row.in_(row_numbers))
    found = {}
    for values in transaction.connection.execute(statement):
        *row, request_id, namespace, model, version, variant = values
        key = LabelKey(namespace, model, request_id, row[1])
        if key in wanted:
            stream = StreamKey(namespace, model, version, variant)
            found[key] = LabelledRow(row[0], row[1], row[2], stream, *row[3:])
    return found


def save_labels(transaction: Transaction, rows: Sequence[LabelledRow]) -> None:
    """Write the labels of ``rows``."""
    if not rows:
        return
    table = schema.predictions
    statement = (
        update(table)
        .where(table.c.event_id == bindparam("at_event_id"), table.c.row == bindparam("at_row"))
        .values({name: bindparam(name) for name in ("label", "label_time_s", "wrong", "judged")})
    )
    transaction.connection.execute(
        statement,
        [
            {
                "at_event_id": row.event_id,
                "at_row": row.row,
                "label": row.label,
                "label_time_s": row.label_time_s,
                "wrong": row.wrong,
                "judged": row.judged,
            }
            for row in rows
        ],
    )


def any_pending(transaction: Transaction, namespace: str, model: str) -> bool:
    """Whether any label of a model waits."""
    table = schema.labels_pending.c
    statement = select(table.row).where(table.namespace == namespace, table.model == model).limit(1)
    return transaction.connection.execute(statement).first() is not None


def pending_labels(transaction: Transaction, keys: Iterable[LabelKey]) -> dict[LabelKey, PendingLabel]:
    """Waiting labels of ``keys``."""
    wanted = set(keys)
    by_model: dict[tuple[str, str], set[str]] = {}
    for key in wanted:
        by_model.setdefault((key.namespace, key.model), set()).add(key.request_id)
    table = schema.labels_pending.c
    found: dict[LabelKey, PendingLabel] = {}
    for (namespace, model), request_ids in sorted(by_model.items()):
        statement = (
            select(schema.labels_pending)
            .where(table.namespace == namespace, table.model == model)
            .where(is_any_of(transaction.connection, table.request_id, sorted(request_ids)))
            .with_for_update()
        )
        each = (_pending(values) for values in transaction.connection.execute(statement))
        found.update({pending.key: pending for pending in each if pending.key in wanted})
    return found


def joinable_labels(transaction: Transaction, limit: int) -> list[PendingLabel]:
    """Waiting labels whose prediction is there all the same: two writers passed each other."""
    waiting, rows, streams = schema.labels_pending.c, schema.predictions.c, schema.streams.c
    exists = (
        select(rows.row)
        .join_from(schema.predictions, schema.streams, rows.stream_id == streams.id)
        .where(rows.request_id == waiting.request_id, rows.row == waiting.row)
        .where(streams.namespace == waiting.namespace, streams.model == waiting.model)
        .exists()
    )
    found = transaction.connection.execute(select(schema.labels_pending).where(exists).limit(limit))
    return [_pending(values) for values in found]


def expired_labels(
    transaction: Transaction, namespace: str, model: str, received_before_s: float, limit: int
) -> list[PendingLabel]:
    """Labels of one model that waited too long."""
    table = schema.labels_pending.c
    statement = select(schema.labels_pending).where(
        table.namespace == namespace, table.model == model, table.received_at_s < received_before_s
    )
    return [_pending(values) for values in transaction.connection.execute(statement.limit(limit))]


def save_pending(transaction: Transaction, labels: Sequence[PendingLabel]) -> None:
    """Let labels wait, in place of any that waited for the same prediction."""
    if not labels:
        return
    table = schema.labels_pending
    upsert = sqlite.insert if transaction.connection.dialect.name == "sqlite" else postgresql.insert
    statement = upsert(table)
    changed = {name: statement.excluded[name] for name in ("label", "observed_at_s", "received_at_s")}
    transaction.connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed),
        [
            {
                **label.key._asdict(),
                "label": label.label,
                "observed_at_s": label.observed_at_s,
                "received_at_s": label.received_at_s,
            }
            for label in labels
        ],
    )


def drop_pending(transaction: Transaction, keys: Sequence[LabelKey]) -> None:
    """These wait no longer."""
    if not keys:
        return
    table = schema.labels_pending
    names = LabelKey._fields
    statement = delete(table).where(*(table.c[name] == bindparam(f"at_{name}") for name in names))
    transaction.connection.execute(statement, [{f"at_{name}": getattr(key, name) for name in names} for key in keys])


def _pending(values: Sequence[object]) -> PendingLabel:
    namespace, model, request_id, row, label, observed_at_s, received_at_s = values
    key = LabelKey(str(namespace), str(model), str(request_id), int(str(row)))
    return PendingLabel(
        key, None if label is None else str(label), float(str(observed_at_s)), float(str(received_at_s))
    )
