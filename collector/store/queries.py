"""All candidates of the queries that labels speak of: a ranking is judged by the query, not by the row."""

from collections.abc import Sequence

from sqlalchemy import Text, cast, func, select

from collector.store import schema
from collector.store.database import prefer_indexes
from collector.store.erased import ERASED_STATUS
from collector.store.labels import LabelledRow, label_columns, labelled_row, newest_label, prediction_columns
from collector.store.transaction import Transaction

# Keys in one statement: each is a parameter, of which databases take some ten thousand.
_KEYS = 1000


def candidates_of(transaction: Transaction, rows: Sequence[LabelledRow]) -> dict[str, list[LabelledRow]]:
    """Every row of the events that ``rows`` are of, with its label in effect, by event and in their order.

    They stay locked until the transaction ends: of two writers that label candidates of one query, the second waits for
    the first, and then sees its labels. (SQLite has one writer at a time.)
    """
    streams = {row.event_key: row.stream for row in rows}
    times_s = {row.event_key: row.time_s for row in rows}
    found: dict[str, list[LabelledRow]] = {}
    keys = sorted(streams)
    prefer_indexes(transaction.connection)
    for start in range(0, len(keys), _KEYS):
        here = keys[start : start + _KEYS]
        table = schema.predictions.c
        wanted = (table.event_key.in_(here), table.time_s.in_(sorted({times_s[key] for key in here})))
        ordered = (table.event_key, table.row)
        # A statement of its own: one that also read labels would read them as they were before it waited.
        transaction.connection.execute(select(table.row).where(*wanted).order_by(*ordered).with_for_update())
        statement = (
            select(*prediction_columns(), *label_columns())
            .outerjoin_from(schema.predictions, schema.labels, newest_label())
            .where(*wanted)
            .order_by(*ordered)
        )
        for values in transaction.connection.execute(statement):
            found.setdefault(values[0], []).append(labelled_row(streams[values[0]], values))
    return found


def partly_erased(transaction: Transaction, event_keys: Sequence[str]) -> set[str]:
    """Those events of which rows were erased, and others are there still; read behind :func:`candidates_of`'s lock."""
    rows, rowless = schema.predictions.c, schema.rowless_events.c
    own_id = func.coalesce(rows.event_id, cast(rows.event_key, Text))
    found: set[str] = set()
    for start in range(0, len(event_keys), _KEYS):
        statement = (
            select(rows.event_key)
            .distinct()
            .join_from(
                schema.predictions,
                schema.rowless_events,
                (rowless.event_id == own_id) & (rowless.time_s == rows.time_s),
            )
            .where(rows.event_key.in_(event_keys[start : start + _KEYS]), rowless.status_code == ERASED_STATUS)
        )
        found.update(transaction.connection.execute(statement).scalars())
    return found
