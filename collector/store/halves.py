"""The store's part in pairing: halves that wait, and the identities of those that need not wait any more."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, select

from collector.store import schema
from collector.store.bulk import insert_tuples
from collector.store.database import clean, is_any_of, key_text
from collector.store.transaction import Transaction
from driftline.errors import TransientError
from driftline.halves import Half
from driftline.monitors import Monitor
from driftline.records import Due, DueReason

#: Why an answer whose request has not come in time is a dead letter, which keeps the half.
LONE_ANSWER = "response_without_request"
_reader = msgspec.msgpack.Decoder(Half)
_writer = msgspec.msgpack.Encoder()


def half_bytes(half: Half) -> bytes:
    """A half as it is kept, in the store and in dead letters."""
    return _writer.encode(half)


def read_half(data: bytes) -> Half:
    """What :func:`half_bytes` wrote; raises msgspec.MsgspecError."""
    return _reader.decode(data)


class Waiting(NamedTuple):
    """A half in the store, and since when."""

    half: Half
    received_at_s: float


class Room(NamedTuple):
    """How many halves wait, and how much that is."""

    halves: int
    size_bytes: int


# --- reading ------------------------------------------------------------------------------------------------------
def settled(connection: Connection, identities: Sequence[str]) -> set[str]:
    """Those of ``identities`` that are known and do not wait any more."""
    column = schema.settled_halves.c.identity
    return set(connection.execute(select(column).where(is_any_of(connection, column, identities))).scalars())


def waiting_of_pairs(connection: Connection, pairs: Sequence[str]) -> list[Waiting]:
    """Every half that waits under one of ``pairs``, those first that came first."""
    table = schema.waiting_halves.c
    found = connection.execute(
        select(table.half, table.received_at_s)
        .where(is_any_of(connection, table.pair, pairs))
        .order_by(table.received_at_s, table.identity)
    )
    return [Waiting(read_half(half), received_at_s) for half, received_at_s in found]


def room(connection: Connection) -> Room:
    """What waits altogether."""
    table = schema.waiting_halves.c
    count, size = connection.execute(
        select(func.count(), func.sum(table.size_bytes)).select_from(table.size_bytes.table)
    ).one()
    return Room(count, int(size or 0))


def timed_out(connection: Connection, monitor: Monitor, now_s: float, limit: int) -> list[Due]:
    """The halves of a model that have waited longer than its monitor says, oldest first."""
    table = schema.waiting_halves.c
    statement = select(table.pair, table.identity).where(
        table.namespace == monitor.namespace,
        table.model == monitor.model,
        table.received_at_s <= now_s - monitor.pairing.timeout,
    )
    return _dues(connection.execute(statement.order_by(table.received_at_s, table.identity).limit(limit)), "timeout")


def older_than(connection: Connection, before_s: float, limit: int) -> list[Due]:
    """Halves, of whatever model, that came before ``before_s``."""
    table = schema.waiting_halves.c
    statement = select(table.pair, table.identity).where(table.received_at_s <= before_s)
    return _dues(connection.execute(statement.order_by(table.received_at_s, table.identity).limit(limit)), "timeout")


def oldest(connection: Connection, halves: int, size_bytes: int, limit: int) -> list[Due]:
    """The oldest halves, as many as make up so many halves and so many bytes."""
    table = schema.waiting_halves.c
    statement = select(table.pair, table.identity, table.size_bytes).order_by(table.received_at_s, table.identity)
    found: list[tuple[str, str]] = []
    for pair, identity, size in connection.execute(statement.limit(limit)):
        if halves <= 0 and size_bytes <= 0:
            break
        found.append((pair, identity))
        halves, size_bytes = halves - 1, size_bytes - size
    return _dues(found, "full")


def met(connection: Connection, limit: int) -> list[Due]:
    """Pairs of which both halves wait, because two collectors stored them at the same time."""
    table = schema.waiting_halves.c
    both = select(table.pair).group_by(table.pair).having(func.count(func.distinct(table.kind)) > 1).limit(limit)
    pairs = list(connection.execute(both).scalars())
    if not pairs:
        return []
    found = connection.execute(
        select(table.pair, table.identity).where(is_any_of(connection, table.pair, pairs)).order_by(table.identity)
    )
    by_pair: dict[str, list[str]] = {}
    for pair, identity in found:
        by_pair.setdefault(pair, []).append(identity)
    return [Due(pair, tuple(identities), "met") for pair, identities in sorted(by_pair.items())]


def _dues(rows: Iterable[Sequence[str]], reason: DueReason) -> list[Due]:
    return [Due(pair, (identity,), reason) for pair, identity in rows]


# --- writing ------------------------------------------------------------------------------------------------------
def begin_waiting(transaction: Transaction, halves: Sequence[Waiting]) -> None:
    """Let halves wait; raises TransientError when a copy of one came through another partition meanwhile."""
    columns = ("identity", "pair", "kind", "namespace", "model", "received_at_s", "size_bytes", "half", "request_id")
    rows = [
        (
            half.identity,
            half.pair,
            half.kind,
            clean(half.namespace),
            clean(half.model),
            received_at_s,
            half.size_bytes,
            half_bytes(half),
            key_text(half.request_id),
        )
        for half, received_at_s in halves
    ]
    insert_tuples(transaction.connection, schema.waiting_halves, columns, sorted(rows))


def end_waiting(transaction: Transaction, identities: Sequence[str]) -> None:
    """Take halves out of the room; raises TransientError when somebody else has taken one of them."""
    if not identities:
        return
    connection, table = transaction.connection, schema.waiting_halves
    gone = connection.execute(delete(table).where(is_any_of(connection, table.c.identity, sorted(identities))))
    if gone.rowcount != len(identities):
        raise TransientError("a half was paired by another collector")


def settle(transaction: Transaction, identities: Sequence[str], now_s: float) -> None:
    """Remember halves; raises TransientError when a copy of one was settled meanwhile."""
    rows = [(identity, now_s) for identity in sorted(identities)]
    insert_tuples(transaction.connection, schema.settled_halves, ("identity", "settled_at_s"), rows)


def forget_settled(transaction: Transaction, before_s: float) -> None:
    """Forget what was settled before ``before_s``."""
    table = schema.settled_halves
    transaction.connection.execute(delete(table).where(table.c.settled_at_s < before_s))
