"""What was erased stays so: requests and subjects of which something may still arrive, and how it is known then.

A frame in a spool and a message in Kafka cannot be rewritten. So an erasure is remembered, by digests alone, and what
arrives of it later is not kept. Every batch asks in its own transaction, with one statement, whether something was
erased since it last asked. The eraser adds to the table under a lock that waits for all who have asked and not ended
yet: whatever they wrote is there when it looks for what is to go, and all others are told.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select, text

from collector.store import schema
from collector.store.database import key_text, upsert
from collector.store.ids import key_of, keys_of
from collector.store.transaction import Transaction

#: The status code under which the id of an erased event stays known.
ERASED_STATUS = 0

_COLUMNS = schema.erased.c
_NEWER = (
    select(_COLUMNS.number, _COLUMNS.namespace, _COLUMNS.model, _COLUMNS.kind, _COLUMNS.digest)
    .where(_COLUMNS.number > bindparam("seen"))
    .order_by(_COLUMNS.number)
)

Kind = Literal["request_id", "subject"]


class Erased(NamedTuple):
    """What was erased of one model: a request by its key, or a subject by its keyed hash."""

    namespace: str
    model: str
    kind: Kind
    digest: str


class ErasedBook:
    """What was erased, as one part of a process knows it; empty until it follows the store.

    ``hash_subject``: the keyed hash of (namespace, model, subject). ``anew_every``: it asks so often what is new, and
    then reads all anew, so that it lets go of what retention has dropped.
    """

    def __init__(self, hash_subject: Callable[[str, str, str], str], *, anew_every: int = 10_000) -> None:
        self._hash_subject, self._anew_every = hash_subject, anew_every
        self._seen = self._asked = 0
        self._requests: dict[tuple[str, str], set[str]] = {}
        self._subjects: dict[tuple[str, str], set[str]] = {}

    def follow(self, connection: Connection) -> bool:
        """Learn what was erased since; whether there was anything."""
        self._asked += 1
        seen = self._seen
        if self._asked % self._anew_every == 0:
            self._seen, self._requests, self._subjects = 0, {}, {}
        for number, namespace, model, kind, digest in connection.execute(_NEWER, {"seen": self._seen}):
            self._seen = number
            digests = self._requests if kind == "request_id" else self._subjects
            digests.setdefault((namespace, model), set()).add(digest)
        return self._seen > seen

    def anything(self) -> bool:
        """Whether anything was erased of which something may still arrive."""
        return bool(self._requests or self._subjects)

    def request(self, namespace: str, model: str, request_id: str) -> bool:
        """Whether this request was erased."""
        erased = self._requests.get((namespace, model))
        return erased is not None and key_of(key_text(request_id)) in erased

    def requests(self, namespace: str, model: str, request_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these requests were erased, shape (request ids,)."""
        erased = self._requests.get((namespace, model))
        if erased is None:
            return np.zeros(len(request_ids), np.bool_)
        keys = keys_of([key_text(request_id) for request_id in request_ids]).texts
        return np.array([key in erased for key in keys], dtype=np.bool_)

    def any_subject(self, namespace: str, model: str) -> bool:
        """Whether any subject of this model was erased."""
        return (namespace, model) in self._subjects

    def hashed(self, namespace: str, model: str, subject: str | None) -> bool:
        """Whether the subject with this hash was erased."""
        return subject is not None and subject in self._subjects.get((namespace, model), ())

    def subject(self, namespace: str, model: str, subject: str) -> bool:
        """Whether this subject was erased."""
        return self.any_subject(namespace, model) and self.hashed(
            namespace, model, self._hash_subject(namespace, model, subject)
        )


def nothing_erased() -> ErasedBook:
    """A book for those who follow nothing."""
    return ErasedBook(lambda _namespace, _model, subject: subject)


def remember_erased(transaction: Transaction, erased: Erased, at_s: float) -> None:
    """Let it stay erased; waits for everybody who is writing something that they asked about before."""
    wait_for_writers(transaction)
    connection, table = transaction.connection, schema.erased
    statement = upsert(connection, table).values(**erased._asdict(), at_s=at_s)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.namespace, table.c.model, table.c.kind, table.c.digest], set_={"at_s": at_s}
        )
    )


def wait_for_writers(transaction: Transaction) -> None:
    """Wait for all who have asked what was erased and not ended yet; others cannot ask until this transaction ends."""
    if transaction.connection.dialect.name != "sqlite":  # there one writes at a time anyway
        transaction.connection.execute(text("LOCK TABLE erased IN ACCESS EXCLUSIVE MODE"))
