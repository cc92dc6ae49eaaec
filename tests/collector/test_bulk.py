"""Rows given as columns come back as they were given, whichever way a column is encoded."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, MetaData, SmallInteger, Table, Text, select

from collector.store.bulk import insert_columns
from collector.store.database import connect
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
            "text": texts,
            "real": reals if None in reals else np.array(reals),
            "whole": wholes,
            "small": np.array(smalls),
            "raw": raws,
        }
        with engine.begin() as connection:
            connection.execute(TABLE.delete())
            insert_columns(connection, TABLE, columns)
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
