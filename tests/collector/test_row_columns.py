"""Packed columns of rows: what went in comes out, and what is damaged is said to be."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from collector.store import row_columns
from collector.store.database import connect
from collector.store.migrate import downgrade, migrate
from collector.store.row_columns import RowLayout, layout_number, layout_of, pack, unpack
from collector.store.store import Store
from driftline.columns import ColumnBatch
from driftline.errors import PermanentError
from driftline.results import StreamKey
from tests.collector.helpers import MONITOR, START_S, Parts, drain, event, records

LAYOUT = RowLayout((("a", "numeric"), ("b", "categorical"), ("c", "numeric"), ("d", "categorical")))
STREAM = StreamKey("default", "flights", "3", "stable")

numbers = st.none() | st.floats(allow_nan=False)
texts = st.none() | st.text()


@given(st.lists(st.tuples(numbers, texts, numbers, texts), max_size=5))
def test_every_value_comes_back(rows: list[tuple[float | None, str | None, float | None, str | None]]) -> None:
    def numeric(place: int) -> np.ndarray:
        return np.array([math.nan if row[place] is None else row[place] for row in rows], dtype=np.float64)

    def text_column(place: int) -> np.ndarray:
        found = np.empty(len(rows), dtype=np.object_)
        found[:] = [row[place] for row in rows]
        return found

    batch = ColumnBatch(len(rows), {"a": numeric(0), "c": numeric(2)}, {"b": text_column(1), "d": text_column(3)})
    packed = pack(LAYOUT, batch)
    shown = [
        {
            name: str(value) if isinstance(value, float) and math.isinf(value) else value
            for name, value in zip("abcd", row, strict=True)
        }
        for row in rows
    ]
    assert [unpack(LAYOUT, each) for each in packed] == shown
    assert all(layout_number(each) == LAYOUT.number for each in packed)


def test_a_column_that_the_batch_lacks_is_missing() -> None:
    assert unpack(LAYOUT, pack(LAYOUT, ColumnBatch(1))[0]) == {"a": None, "b": None, "c": None, "d": None}


def test_half_a_surrogate_is_kept_as_a_mark() -> None:
    values = np.array(["\ud800x"], dtype=np.object_)
    assert unpack(LAYOUT, pack(LAYOUT, ColumnBatch(1, {}, {"b": values}))[0])["b"] == "?x"


def test_a_layout_is_the_monitors_inputs_and_reads_back() -> None:
    layout = layout_of(MONITOR)
    assert layout.columns == (("distance", "numeric"), ("carrier", "categorical"))
    assert RowLayout.read(layout.spelt()) == layout


@pytest.mark.parametrize("foreign", [b"", b"{}", b"\x02" + b"\0" * 30])
def test_foreign_bytes_are_refused(foreign: bytes) -> None:
    with pytest.raises(PermanentError, match="columns of a stored row"):
        layout_number(foreign)


@pytest.mark.parametrize("damaged", [b"\x01" + b"\0" * 12, b"\x01" + b"\0" * 24 + b"\x91\xc0"])
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(PermanentError, match="columns of a stored row"):
        unpack(LAYOUT, damaged)


def test_samples_show_the_columns_of_rows_of_both_schemas(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(1, at_s=START_S), event(2, at_s=START_S)])))
    parts.store.close()
    downgrade(url, "0001")
    engine = connect(url)
    old = msgspec.json.encode({"distance": 7.5, "carrier": None}).decode()
    with engine.begin() as connection:
        connection.execute(text("UPDATE predictions SET columns = :old WHERE event_id = 'event-000001'"), {"old": old})
    engine.dispose()
    migrate(url)
    store = Store(url)
    found = {sample.request_id: sample.columns for sample in store.samples(STREAM, 0.0, 2 * START_S, 10)}
    store.close()
    assert found == {"request-1": {"distance": 7.5, "carrier": None}, "request-2": {}}


def test_samples_show_what_was_packed(parts: Parts) -> None:
    drain(parts.collector(records([event(4, at_s=START_S)])))
    (sample,) = parts.store.samples(STREAM, 0.0, 2 * START_S, 10)
    assert sample.columns == {"distance": 400.0, "carrier": "UA"}
    assert row_columns.layout_of(MONITOR).number != LAYOUT.number
