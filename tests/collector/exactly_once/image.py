"""What of a store must be equal after any number of crashes, replays, rivals, rebalances, and erasures meanwhile.

Labels of one row keep their order by request id, and by key, but its prediction comes before, between or after them, as
the other topic was read. What each of several labels is counted as depends on that (one that waits is corrected before
anything was joined), and so do a row's history and its first judgement. The label in effect and all statistics do not.

Of version 4, in which requests and people are erased while it arrives, windows and counters depend on how much of it
had come before. What they must be all the same is for :mod:`tests.collector.exactly_once.balance` to show.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from collector.store import schema
from collector.store.database import connect
from driftline import names
from tests.collector.exactly_once.traffic import ERASED_VERSION, Topics

#: What depends on which of two streams was faster, on whom it was counted by, or on nothing but the database.
_PASSING = {"partition", "id", "number", "received_at_s", "revision", "removed"}
_NOT_COMPARED = {"labels", "totals", "window_states", "window_counts", "stream_spans", "streams", "window_revisions"}
_OF_VERSION_4 = {names.COLLECTOR_ROWS.name, names.VALIDATION_FAILURES.name}
_ELSEWHERE = {names.LABELS.name, names.JUDGED_PREDICTIONS.name, names.COLLECTOR_REMOVED.name}

#: A row's labels in the order in which they took effect: value, when it was observed, whether it says wrong.
History = list[tuple[str | None, float, int | None]]


def image(url: str, topics: Topics) -> dict[str, Any]:
    """All that is compared, by what it is."""
    may_wait = {subject for group in topics.groups for subject in group.may_wait}
    engine = connect(url)
    with engine.connect() as connection:
        streams = streams_of(connection)
        found: dict[str, Any] = {}
        for table in schema.metadata.sorted_tables:
            if table.name not in _NOT_COMPARED:
                rows = [dict(row) for row in connection.execute(select(table)).mappings()]
                if table in (schema.labels_pending, schema.labels_pending_keys):
                    rows = [row for row in rows if may_wait.isdisjoint({row.get("request_id"), row.get("key")})]
                found[table.name] = sorted((_row(row, streams) for row in rows), key=repr)
        found["labels"] = {row: history[-1] for row, history in histories(connection).items()}
        positions = {row[0]: row[1] for row in connection.execute(select(schema.positions))}
        found["positions"] = {name: offset for name, offset in positions.items() if name.startswith("kafka:")}
        found["totals"] = _summed(connection.execute(select(schema.totals)).mappings())
        ordinary = {number: stream for number, stream in streams.items() if stream[2] != ERASED_VERSION}
        found["spans"] = spans_of(connection, ordinary)
        found["states"] = states_of(connection, ordinary)
        found["counts"] = {
            place: count for place, count in counts_of(connection, ordinary).items() if place[-1] != "delays"
        }
    engine.dispose()
    return found


def streams_of(connection: Connection) -> dict[int, tuple[str, str, str, str]]:
    """Namespace, model, version and variant of each stream by its number."""
    return {row[0]: tuple(row[1:]) for row in connection.execute(select(schema.streams))}


def histories(connection: Connection) -> dict[tuple[str, int], History]:
    """Every row's labels that took effect."""
    table = schema.labels.c
    statement = select(table.event_key, table.row, table.label, table.observed_at_s, table.wrong)
    found: dict[tuple[str, int], History] = {}
    for key, row, value, observed_at_s, wrong in connection.execute(statement.order_by(table.revision)):
        found.setdefault((str(key), row), []).append((value, observed_at_s, wrong))
    return found


def counts_of(connection: Connection, streams: Mapping[int, Any]) -> dict[tuple[Any, ...], int]:
    """Rows, labelled rows and (all classes together, as ``delays``) first labels, by stream, segment and window."""
    sums: dict[tuple[Any, ...], int] = {}
    for row in connection.execute(select(schema.window_counts)).mappings():
        kind, _, segment = row["kind"].partition("|")
        if row["stream_id"] not in streams or kind.startswith("wrong_delay/"):
            continue  # which of a row's labels came first is no count of anything
        kind = "delays" if kind.startswith("delay/") else kind
        key = (streams[row["stream_id"]], segment, row["start_s"], row["end_s"], kind)
        sums[key] = sums.get(key, 0) + row["value"]
    return {key: count for key, count in sums.items() if count}


def spans_of(connection: Connection, streams: Mapping[int, Any]) -> dict[Any, tuple[int, int, float, float]]:
    """Rows, labelled rows, first and last event of each stream."""
    sums: dict[Any, tuple[int, int, float, float]] = {}
    for row in connection.execute(select(schema.stream_spans)).mappings():
        if row["stream_id"] not in streams:
            continue
        key = streams[row["stream_id"]]
        first, last = row["first_event_s"], row["last_event_s"]
        old = sums.get(key, (0, 0, float("inf"), float("-inf")))
        first_s = old[2] if first is None else min(old[2], first)
        last_s = old[3] if last is None else max(old[3], last)
        sums[key] = (old[0] + row["rows"], old[1] + row["labelled_rows"], first_s, last_s)
    return sums


def states_of(connection: Connection, streams: Mapping[int, Any]) -> dict[tuple[Any, ...], dict[str, float]]:
    """Statistics by window; not how many changes made them, because a correction is two and a withdrawal one."""
    merged: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in connection.execute(select(schema.window_states)).mappings():
        if row["stream_id"] not in streams:
            continue
        key = (streams[row["stream_id"]], row["segment"], row["start_s"], row["end_s"])
        counts = merged.setdefault(key, {})
        for name, value in msgspec.json.decode(row["state"]).items():
            counts[name] = counts.get(name, 0) + value
    return {key: {name: value for name, value in counts.items() if value} for key, counts in merged.items()}


def _row(row: dict[str, Any], streams: Mapping[int, Any]) -> tuple[Any, ...]:
    if "stream_id" in row:
        row["stream_id"] = streams[row["stream_id"]]
    return tuple((name, value) for name, value in row.items() if name not in _PASSING)


def _summed(rows: Any) -> dict[tuple[str, Sequence[str]], int]:
    """Counters of all partitions together; an event of version 4 that was erased on arrival as if it were stored."""
    sums: dict[tuple[str, Sequence[str]], int] = {}
    for row in rows:
        metric, labels = row["metric"], msgspec.json.decode(row["labels"])
        of_version_4 = labels[2:3] == [ERASED_VERSION]
        if metric in _ELSEWHERE or (metric in _OF_VERSION_4 and of_version_4):
            continue
        if of_version_4:
            labels = [names.OUTCOME_STORED if label == names.OUTCOME_ERASED else label for label in labels]
        key = (metric, tuple(labels))
        sums[key] = sums.get(key, 0) + row["value"]
    return sums
