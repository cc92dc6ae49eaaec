"""Rows, labels and delays per window, as whole numbers that writers add to."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy.dialects import postgresql, sqlite

from collector import schema
from collector.transaction import Transaction, WindowRef

ROWS = "rows"
LABELLED = "labelled"
#: Followed by the number of a class of delay, see ``driftline.maturity``.
DELAY = "delay/"

#: (window of all rows, kind) -> count.
WindowCounts = Counter[tuple[WindowRef, str]]


def add_window_counts(transaction: Transaction, partition: str, counts: Mapping[tuple[WindowRef, str], int]) -> None:
    """Add to the counts of windows, under one partition."""
    rows = [
        {
            "stream_id": window.stream_id,
            "start_s": window.start_s,
            "end_s": window.end_s,
            "partition": partition,
            "kind": kind,
            "value": count,
        }
        for (window, kind), count in sorted(counts.items())
        if count
    ]
    if not rows:
        return
    table = schema.window_counts
    insert = sqlite.insert if transaction.connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={"value": table.c.value + statement.excluded.value}
    )
    transaction.connection.execute(statement, rows)
