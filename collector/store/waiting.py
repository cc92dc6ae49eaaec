"""Labels that wait: for a prediction of their request id, or for one of their business key."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Table, bindparam, delete

from collector.store import schema
from collector.store.database import upsert
from collector.store.transaction import Transaction


class LabelKey(NamedTuple):
    """What a label speaks of."""

    namespace: str
    model: str
    request_id: str
    row: int


class BusinessKey(NamedTuple):
    """What a label speaks of by a business key; ``row`` is 0 where every row of a request has its own key."""

    namespace: str
    model: str
    key: str
    row: int


Key = TypeVar("Key", LabelKey, BusinessKey)


# A msgspec Struct, not a dataclass: one is made for every label, at a tenth of the cost.
class WaitingLabel(msgspec.Struct, Generic[Key], frozen=True):
    """A label without a prediction yet; ``label`` None: the withdrawal of one."""

    key: Key
    label: str | None
    observed_at_s: float
    received_at_s: float


class PendingLabel(WaitingLabel[LabelKey], frozen=True):
    """A label of a row of a request."""


class KeyedLabel(WaitingLabel[BusinessKey], frozen=True):
    """A label that names its prediction by a business key."""


def let_wait(transaction: Transaction, labels: Sequence[WaitingLabel[Key]]) -> None:
    """Let labels wait, in place of any that waited for the same; all of one kind of key."""
    if not labels:
        return
    table = _table(labels[0].key)
    statement = upsert(transaction.connection, table)
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


def wait_no_longer(transaction: Transaction, keys: Sequence[Key]) -> None:
    """Labels of these keys, all of one kind, wait no longer."""
    if not keys:
        return
    table = _table(keys[0])
    names = keys[0]._fields
    statement = delete(table).where(*(table.c[name] == bindparam(f"at_{name}") for name in names))
    transaction.connection.execute(statement, [{f"at_{name}": getattr(key, name) for name in names} for key in keys])


def _table(key: LabelKey | BusinessKey) -> Table:
    return schema.labels_pending if isinstance(key, LabelKey) else schema.labels_pending_keys
