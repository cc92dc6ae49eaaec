"""Rows given as columns come back as they were given, whichever way a column is encoded."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    select,
)
from sqlalchemy.exc import IntegrityError

from collector.store.bulk import Upsert, UpsertForm, insert_columns, savepoint, upsert_together
from collector.store.database import connect
from driftline.columns import CodedTexts
from driftline.errors import PermanentError

TABLE = Table(
    "bulk_rows",
    MetaData(),
    Column("place", Integer),
    Column("text", Text),
    Column("real", Double),
    Column("whole", BigInteger),
    Column("small", SmallInteger),
    Column("raw", LargeBinary),
)
_text = st.sampled_from([None, "", "0", "1", "ab", "é", "long" * 9])
_real = st.sampled_from([None, 0.0, -0.0, 1.5, math.inf])
_whole = st.sampled_from([None, 0, 7, -1, 2**63 - 1])
_raw = st.sampled_from([None, b"", b"a", b"\0\0"])
_row = st.tuples(_text, _real, _whole, st.integers(-3, 3), _raw)
#: Few different rows, so that columns of one value, and of values of one length, are among them.
_rows = st.lists(_row, min_size=1, max_size=3).flatmap(lambda few: st.lists(st.sampled_from(few), min_size=1))


def _spelt(rows: list[tuple[Any, ...]]) -> list[str]:
    """With the sign of a zero."""
    return [repr(row) for row in rows]


@pytest.mark.real
def test_what_is_copied_comes_back_to_the_last_bit(postgres: str) -> None:
    engine = connect(postgres)
    TABLE.metadata.create_all(engine)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @example([("", 0.0, 7, 1, None), ("", -0.0, 7, 2, None)])  # zeros that are equal and not the same
    @example([(None, 1.5, None, 1, b"a")] * 3)
    @example([("0", 1.5, 7, 1, b"a"), ("é", 1.5, 7, 1, b"")])
    @given(_rows)
    def check(rows: list[tuple[Any, ...]]) -> None:
        texts, reals, wholes, smalls, raws = (list(column) for column in zip(*rows, strict=True))
        columns = {
            "place": np.arange(len(rows)),
            "real": reals if None in reals else np.array(reals),
            "whole": wholes,
            "small": np.array(smalls),
            "raw": raws,
        }
        for spelt in (texts, CodedTexts.of(texts)):
            with engine.begin() as connection:
                connection.execute(TABLE.delete())
                insert_columns(connection, TABLE, {**columns, "text": spelt})
                found = connection.execute(select(TABLE).order_by(TABLE.c.place)).all()
            assert _spelt([tuple(row[1:]) for row in found]) == _spelt(rows)

    check()
    engine.dispose()


@pytest.mark.real
@pytest.mark.parametrize("values", [np.array([2**15] * 3), np.array([1, 2**15]), np.array([1.0, 1.0]), [2**15]])
def test_a_number_that_the_column_cannot_hold_is_refused(postgres: str, values: Any) -> None:
    engine = connect(postgres)
    TABLE.metadata.create_all(engine)
    with engine.connect() as connection, pytest.raises(PermanentError, match="column 'small' of 'bulk_rows'"):
        insert_columns(connection, TABLE, {"small": values})
    engine.dispose()


_COUNTS = Table("upsert_counts", TABLE.metadata, Column("name", Text, primary_key=True), Column("value", BigInteger))
_STATES = Table("upsert_states", TABLE.metadata, Column("name", Text, primary_key=True), Column("state", LargeBinary))
_ADDED = UpsertForm(_COUNTS, ("name", "value"), (("value", "upsert_counts.value + excluded.value"),))
_WRITTEN = UpsertForm(_STATES, ("name", "state"), (("state", "excluded.state"),))


def test_rows_of_several_tables_are_added_to_or_written_over_together(url: str) -> None:
    engine = connect(url)
    TABLE.metadata.create_all(engine)
    first = [Upsert(_ADDED, [("a", 1), ("b", 2)]), Upsert(_WRITTEN, [("a", b"old")])]
    second = [Upsert(_ADDED, [("b", 40), ("c", 5)]), Upsert(_WRITTEN, [("a", b"new\0"), ("b", b"")])]
    with engine.begin() as connection:
        for upserts in (first, second, [Upsert(_ADDED, []), Upsert(_WRITTEN, [("c", b"alone")])], []):
            upsert_together(connection, upserts)
    with engine.connect() as connection:
        counts = dict(map(tuple, connection.execute(select(_COUNTS))))
        states = {name: bytes(state) for name, state in connection.execute(select(_STATES))}
    engine.dispose()
    assert counts == {"a": 1, "b": 42, "c": 5}
    assert states == {"a": b"new\0", "b": b"", "c": b"alone"}


def test_one_table_twice_is_refused_because_neither_part_would_see_the_other(url: str) -> None:
    engine = connect(url)
    with engine.begin() as connection, pytest.raises(ValueError, match="neither sees"):
        upsert_together(connection, [Upsert(_ADDED, [("a", 1)]), Upsert(_ADDED, [("a", 1)])])
    engine.dispose()


def _add_b_and_a_again(connection: Connection) -> None:
    with savepoint(connection):
        upsert_together(connection, [Upsert(_ADDED, [("b", 1)])])
        insert_columns(connection, _COUNTS, {"name": ["a"], "value": [5]})


def test_what_fails_behind_a_savepoint_is_taken_back_and_the_rest_stays(url: str) -> None:
    engine = connect(url)
    TABLE.metadata.create_all(engine)
    with engine.begin() as connection:
        upsert_together(connection, [Upsert(_ADDED, [("a", 1)])])
        for _ in range(2):
            with pytest.raises(IntegrityError):
                _add_b_and_a_again(connection)
        with savepoint(connection):
            insert_columns(connection, _COUNTS, {"name": ["c"], "value": [7]})
        upsert_together(connection, [Upsert(_ADDED, [("a", 1)])])
    with engine.connect() as connection:
        found = dict(map(tuple, connection.execute(select(_COUNTS))))
    engine.dispose()
    assert found == {"a": 2, "c": 7}
