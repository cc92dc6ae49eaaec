"""Who does what only one of several collectors should do: a lease, which ends by itself when it is not renewed."""

import time

from sqlalchemy import Connection, delete, extract, func, select

from collector.store import schema
from collector.store.database import upsert


def hold(connection: Connection, name: str, holder: str, for_s: float) -> bool:
    """Take or renew a lease; False while somebody else has it. Time is the database's, the same for all."""
    now_s = _now_s(connection)
    table = schema.leases
    statement = upsert(connection, table).values(name=name, holder=holder, until_s=now_s + for_s)
    free = (table.c.holder == holder) | (table.c.until_s < now_s)
    changes = {"holder": holder, "until_s": now_s + for_s}
    statement = statement.on_conflict_do_update(index_elements=[table.c.name], set_=changes, where=free)
    return connection.execute(statement.returning(table.c.name)).first() is not None


def let_go(connection: Connection, name: str, holder: str) -> None:
    """Give a lease back, if it is this holder's."""
    table = schema.leases
    connection.execute(delete(table).where(table.c.name == name, table.c.holder == holder))


def _now_s(connection: Connection) -> float:
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one())
