"""Days of predictions on PostgreSQL: one partition each of every table that grows with the traffic.

A partition is made in a short transaction of its own, under one advisory lock, and attached with a lock that no writer
of rows waits for. So collectors never wait for each other's batches here, whichever day each of them writes first. On
SQLite there is nothing to do.
"""

import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text

from collector.store import schema
from collector.store.bulk import driver_cursor
from collector.store.database import PREFER_INDEXES, writing

DAY_S = 86_400.0
#: Everything before this day shares one partition: times that far back are mistakes or an import.
FIRST_DAY = (datetime(2020, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
_LOCK = 0x6472696674  # "drift"; any number that nobody else uses
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOLD_DAYS = (
    f"{PREFER_INDEXES}; LOCK TABLE ONLY {', ONLY '.join(schema.DAILY)} IN ACCESS SHARE MODE; "  # noqa: S608 - our own
    "SELECT relname, reltuples FROM pg_inherits JOIN pg_class ON oid = inhrelid "
    f"WHERE inhparent = ANY ('{{{','.join(schema.DAILY)}}}'::regclass[])"
)


def day_number(time_s: float) -> int:
    """The partition that a time belongs to: its day since the epoch, UTC, and never before ``FIRST_DAY - 1``.

    >>> day_number(0.0) == FIRST_DAY - 1, day_number(86400.0 * 20000 + 5)
    (True, 20000)
    """
    return max(int(time_s // DAY_S), FIRST_DAY - 1)


def day_numbers(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The partitions that many times belong to, each as :func:`day_number` says."""
    return np.maximum((times_s // DAY_S).astype(np.int64), FIRST_DAY - 1)


def partition_name(table: str, day: int) -> str:
    """The name of a day's partition.

    >>> partition_name("predictions", 20000), partition_name("predictions", FIRST_DAY - 1)
    ('predictions_20241004', 'predictions_before')
    """
    if day < FIRST_DAY:
        return f"{table}_before"
    return f"{table}_{_EPOCH + timedelta(days=day):%Y%m%d}"


def create_days(connection: Connection, days: Iterable[int]) -> None:
    """Make the partitions of ``days`` that are not there; one collector at a time, until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    for day in sorted(set(days)):
        for table in schema.DAILY:
            name = partition_name(table, day)
            if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is None:
                start = "MINVALUE" if day < FIRST_DAY else repr(day * DAY_S)
                span = f"FROM ({start}) TO ({(day + 1) * DAY_S!r})"
                connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)"))
                connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {span}"))


def existing_days(connection: Connection, table: str = schema.DAILY[0]) -> list[int]:
    """The days that a table has partitions of, oldest first; none on SQLite."""
    if connection.dialect.name == "sqlite":
        return []
    found = connection.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)"), {"table": table}
    )
    return sorted(_day_of_name(name) for (name,) in found)


def held_days(connection: Connection) -> dict[int, float]:
    """The days that all tables have, oldest first; none of them is dropped until the transaction ends. None on SQLite.

    Each with about as many predictions as it has, -1 where nobody has counted yet. Whoever drops a day needs the tables
    for itself, so that a lock which hinders nobody else is enough. From then on rows are looked up one by one
    (``database.prefer_indexes``): what days are asked for.
    """
    if connection.dialect.name == "sqlite":
        return {}
    days: dict[str, dict[int, float]] = {table: {} for table in schema.DAILY}
    with driver_cursor(connection, _HOLD_DAYS) as cursor:
        cursor.execute(_HOLD_DAYS)
        while cursor.description is None and cursor.nextset():  # what sets and locks answers nothing
            pass
        for name, rows in cursor:
            days[name.rpartition("_")[0]][_day_of_name(name)] = rows
    held = set.intersection(*(set(each) for each in days.values()))
    return {day: days[schema.DAILY[0]][day] for day in sorted(held)}


class DayPartitions:
    """Makes partitions as they are needed. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()

    def create(self, days: Iterable[int]) -> None:
        """Make the partitions of ``days``, in a transaction of its own."""
        with self._lock, writing(self._engine) as connection:
            create_days(connection, days)


@cache
def _day_of_name(name: str) -> int:
    suffix = name.rpartition("_")[2].strip('"')
    if suffix == "before":
        return FIRST_DAY - 1
    return date(int(suffix[:4]), int(suffix[4:6]), int(suffix[6:])).toordinal() - _EPOCH.toordinal()
