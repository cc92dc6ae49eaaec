"""The store's part in business keys: which predictions have a key, and labels whose key no prediction has yet."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, case, func, select

from collector.store import schema
from collector.store.database import is_any_of, upsert
from collector.store.transaction import Transaction
from collector.store.waiting import BusinessKey, KeyedLabel, LabelKey


class KeyedPrediction(NamedTuple):
    """A stored prediction row with its business key."""

    namespace: str
    model: str
    key: str
    request_id: str
    row: int
    time_s: float


def save_keys(transaction: Transaction, predictions: Sequence[KeyedPrediction]) -> None:
    """Keep the keys of predictions; one that was sent twice under one request id keeps the newer time."""
    if not predictions:
        return
    table = schema.prediction_keys
    statement = upsert(transaction.connection, table)
    given_s = statement.excluded.time_s
    newer_s = case((given_s > table.c.time_s, given_s), else_=table.c.time_s)
    # Sorted, as any writer does, so that two writers cannot wait for each other.
    rows = {prediction[:5]: prediction._asdict() for prediction in sorted(predictions)}
    transaction.connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_={"time_s": newer_s}),
        list(rows.values()),
    )


def keyed_predictions(
    transaction: Transaction, namespace: str, model: str, keys: Iterable[str]
) -> dict[str, list[LabelKey]]:
    """The predictions of each key, the newest first; rows of one request in their order."""
    table = schema.prediction_keys.c
    statement = (
        select(table.key, table.request_id, table.row)
        .where(table.namespace == namespace, table.model == model)
        .where(is_any_of(transaction.connection, table.key, sorted(set(keys))))
        .order_by(table.time_s.desc(), table.request_id.desc(), table.row)
    )
    found: dict[str, list[LabelKey]] = {}
    for key, request_id, row in transaction.connection.execute(statement):
        found.setdefault(key, []).append(LabelKey(namespace, model, request_id, row))
    return found


def waiting_keyed(transaction: Transaction, namespace: str, model: str, keys: Iterable[str]) -> list[KeyedLabel]:
    """Waiting labels of these keys, locked."""
    table = schema.labels_pending_keys.c
    statement = _of_model(namespace, model).where(is_any_of(transaction.connection, table.key, sorted(set(keys))))
    return _labels(transaction, statement.with_for_update())


def any_waiting_keyed(transaction: Transaction, namespace: str, model: str) -> bool:
    """Whether any label of a model waits for a key."""
    return transaction.connection.execute(_of_model(namespace, model).limit(1)).first() is not None


def joinable_keyed(transaction: Transaction, namespace: str, model: str, limit: int) -> list[KeyedLabel]:
    """Waiting labels whose key has a prediction all the same: two writers passed each other. Locked, as joined next."""
    waiting, known = schema.labels_pending_keys.c, schema.prediction_keys.c
    exists = (
        select(known.row)
        .where(known.namespace == waiting.namespace, known.model == waiting.model, known.key == waiting.key)
        .exists()
    )
    return _labels(
        transaction, _of_model(namespace, model).where(exists).limit(limit).with_for_update(skip_locked=True)
    )


def expired_keyed(
    transaction: Transaction, namespace: str, model: str, received_before_s: float, limit: int
) -> list[KeyedLabel]:
    """Labels of one model that waited too long for a key and that nobody is about to join, locked."""
    old = schema.labels_pending_keys.c.received_at_s < received_before_s
    statement = _of_model(namespace, model).where(old).limit(limit)
    return _labels(transaction, statement.with_for_update(skip_locked=True))


def waiting_count(connection: Connection, namespace: str, model: str) -> int:
    """Labels of a model that wait, for a request id or a key."""
    count = 0
    for table in (schema.labels_pending, schema.labels_pending_keys):
        here = select(func.count()).select_from(table)
        here = here.where(table.c.namespace == namespace, table.c.model == model)
        count += connection.execute(here).scalar_one()
    return count


def _of_model(namespace: str, model: str) -> Select[Any]:
    table = schema.labels_pending_keys.c
    return select(schema.labels_pending_keys).where(table.namespace == namespace, table.model == model)


def _labels(transaction: Transaction, statement: Select[Any]) -> list[KeyedLabel]:
    return [
        KeyedLabel(BusinessKey(values[0], values[1], values[2], values[3]), values[4], values[5], values[6])
        for values in transaction.connection.execute(statement)
    ]
