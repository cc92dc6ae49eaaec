"""Labels by business key: found in a column, a header or the JSON of the request; of several, as the monitor says."""

import gzip
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.labels.desk import LabelDesk
from collector.labels.keys import row_keys
from driftline import names
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent, Payload
from driftline.monitor_labels import KeySpec
from driftline.monitors import Monitor
from tests.collector.helpers import MONITOR, Parts, drain, event, label, records

FIELDS = MONITOR.model_dump(mode="json", exclude_defaults=True)
ORDER = {"name": "order", "type": "categorical", "drift": False}


def monitored(parts: Parts, **labels: Any) -> LabelDesk:
    """A desk for a monitor with these words on labels."""
    changed = {**FIELDS, "columns": [*FIELDS["columns"], ORDER], "labels": {"timeout": "2h", **labels}}
    monitor = Monitor.model_validate(changed)
    parts.monitors = {monitor.name: monitor}
    return parts.desk()


def ordered(number: int, *orders: str | None, **changes: Any) -> InferenceEvent:
    rows = len(orders)
    columns = {"distance": [1.0] * rows, "carrier": ["AA"] * rows, "late": ["1"] * rows, "score": [0.5] * rows}
    return event(number, **columns, order=list(orders), **changes)


def labelled(parts: Parts) -> dict[tuple[str, int], str]:
    samples = parts.store.samples(parts.store.streams()[0].stream, 0, 1e12, 99)
    return {(sample.request_id, sample.row): sample.label for sample in samples if sample.label is not None}


def by_key(key: str, value: Any, **changes: Any) -> Any:
    return label(0, value, request_id="", key=key, **changes)


def test_each_row_is_found_by_its_own_key_whenever_the_label_comes(parts: Parts) -> None:
    desk = monitored(parts, key="order")
    assert desk.submit([by_key("b", 0), by_key("c", 0)]).outcomes == {"pending": 2}
    drain(parts.collector(records([ordered(1, "a", "b", None)])))
    assert desk.submit([by_key("a", 1, row=7)]).outcomes == {"joined": 1}  # a key of its own needs no row
    assert desk.submit([by_key("b", 1, after_s=8000.0)]).outcomes == {"corrected": 1}
    assert labelled(parts) == {("request-1", 0): "1", ("request-1", 1): "1"}


def test_a_label_by_key_and_one_by_request_id_speak_of_one_prediction(parts: Parts) -> None:
    desk = monitored(parts, key="order")
    drain(parts.collector(records([ordered(1, "a")])))
    assert desk.submit([by_key("a", 1), label(1, 1)]).outcomes == {"joined": 1, "duplicate": 1}
    assert desk.submit([label(1, None, after_s=8000.0)]).outcomes == {"withdrawn": 1}
    assert labelled(parts) == {}


@pytest.mark.parametrize(
    ("several", "outcomes", "expected"),
    [
        ("newest", {"joined": 1}, {("request-2", 0)}),
        ("all", {"joined": 1}, {("request-1", 0), ("request-2", 0)}),
        ("refuse", {"ambiguous": 1}, set()),
    ],
)
def test_of_several_predictions_with_one_key_those_that_the_monitor_says(
    parts: Parts, several: str, outcomes: dict[str, int], expected: set[tuple[str, int]]
) -> None:
    desk = monitored(parts, key={"column": "order", "several": several})
    drain(parts.collector(records([ordered(2, "a"), ordered(1, "a")])))
    receipt = desk.submit([by_key("a", 1)])
    assert receipt.outcomes == outcomes
    assert set(labelled(parts)) == expected
    if several == "refuse":
        assert "several predictions" in receipt.faults[0].faults[0]


def test_a_header_names_the_request_and_the_label_its_row(parts: Parts) -> None:
    desk = monitored(parts, key={"header": "X-Order"})
    made = ordered(1, None, None)
    headers = Payload(content_type="application/json", headers={"x-order": "o-1"}, body=made.request.body)
    drain(parts.collector(records([msgspec.structs.replace(made, request=headers)])))
    assert desk.submit([by_key("o-1", 0, row=1)]).outcomes == {"joined": 1}
    assert desk.submit([by_key("o-1", 0, row=2)]).outcomes == {"pending": 1}
    assert labelled(parts) == {("request-1", 1): "0"}


def test_waiting_labels_by_key_expire_and_are_bounded(parts: Parts) -> None:
    desk = monitored(parts, key="order", maximum_waiting=2)
    receipt = desk.submit([by_key("a", 1), label(9, 1), by_key("b", 1), by_key("a", 0, after_s=8000.0)])
    assert receipt.outcomes == {"pending": 2, "waiting_full": 1, "corrected": 1}
    assert [fault.index for fault in receipt.faults] == [2]
    assert "labels.maximum_waiting" in receipt.faults[0].faults[0]
    parts.clock.advance(3 * 3600.0)
    parts.collector([]).sweep()
    totals = parts.store.totals().items()
    outcomes = {key.labels[2]: value for key, value in totals if key.metric == names.LABELS.name}
    assert outcomes["expired"] == 2
    assert desk.submit([by_key("b", 1)]).outcomes == {"pending": 1}


def test_a_key_that_no_monitor_names_is_refused(parts: Parts) -> None:
    desk = monitored(parts)
    receipt = desk.submit([by_key("a", 1)])
    assert receipt.outcomes == {"invalid": 1}
    assert "labels.key" in receipt.faults[0].faults[0]


# --- where keys are -------------------------------------------------------------------------------------------------
def keys(path: str, document: Any, rows: int = 2, encoding: str | None = None) -> list[str | None]:
    body = msgspec.json.encode(document)
    if encoding == "gzip":
        body = gzip.compress(body)
    payload = Payload(content_type="application/json", content_encoding=encoding, body=body)
    asked = msgspec.structs.replace(event(1), request=payload)
    return row_keys(KeySpec(path=path), asked, ColumnBatch(rows), range(rows))


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("order.id", {"order": {"id": 7}}, ["7", "7"]),
        ("orders[1].id", {"orders": [{}, {"id": "b"}]}, ["b", "b"]),
        ("orders[-1].id", {"orders": [{}, {"id": "b"}]}, ["b", "b"]),
        ("orders[-3].id", {"orders": [{}, {"id": "b"}]}, [None, None]),
        ("instances[*].id", {"instances": [{"id": "a"}, {"id": 2.0}]}, ["a", "2"]),
        ("instances[*].id", {"instances": [{"id": "a"}]}, ["a", None]),
        ("instances[*].id", {"instances": [{"id": "a"}, {}, {"id": "c"}]}, ["a", None]),
        ('"order.id"', {"order.id": 7}, ["7", "7"]),
        ("[*].id", [{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ("ids[*]", {"ids": [["a"], True]}, [None, None]),
        ("a-b.c", [1], [None, None]),
        ("$", "whole", ["whole", "whole"]),
        ("big", {"big": 2**60 + 1}, [str(2**60 + 1)] * 2),
    ],
)
def test_a_path_leads_to_one_key_or_to_one_per_row(path: str, document: Any, expected: list[str | None]) -> None:
    assert keys(path, document) == expected
    assert keys(path, document, encoding="gzip") == expected


@pytest.mark.parametrize("path", ["order.id", "orders[1].id", "instances[*].id", "[*].id", "response[0].x"])
def test_a_path_with_a_dollar_before_it_as_monitors_say_it_means_the_same(path: str) -> None:
    document = {"order": {"id": 7}, "orders": [0, {"id": 8}], "instances": [{"id": "a"}], "response": [{"x": 1}]}
    for place in (document, [document["order"]]):
        assert keys(f"${'' if path[0] == '[' else '.'}{path}", place) == keys(path, place)


def test_a_key_may_be_in_the_answer() -> None:
    answered = msgspec.structs.replace(
        event(1), response=Payload(body=b'{"id": "a-1", "rows": [{"id": 1}, {"id": 2}]}')
    )
    assert row_keys(KeySpec(path="response.id"), answered, ColumnBatch(2), range(2)) == ["a-1", "a-1"]
    assert row_keys(KeySpec(path="response.rows[*].id"), answered, ColumnBatch(2), range(2)) == ["1", "2"]
    # With $ it is the request's, whatever it is called.
    assert row_keys(KeySpec(path="$.response.id"), answered, ColumnBatch(1), [0]) == [None]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        max_leaves=10,
    ),
    st.sampled_from(["$", "a", "a[*].b", "[0].a", "[*]", "a.b[-1]", "$.a[*].b"]),
)
def test_any_document_has_one_key_or_none_per_row(document: Any, path: str) -> None:
    found = keys(path, document, rows=3)
    assert len(found) == 3
    assert all(key is None or (isinstance(key, str) and key) for key in found)


def test_a_body_that_is_no_json_or_no_gzip_has_no_keys() -> None:
    for payload in (Payload(body=b"{"), Payload(body=b"{}", content_encoding="gzip")):
        broken = msgspec.structs.replace(event(1), request=payload)
        assert row_keys(KeySpec(path="$.a"), broken, ColumnBatch(1), [0]) == [None]


def test_numeric_columns_spell_whole_keys_without_a_fraction() -> None:
    columns = ColumnBatch(3, numeric={"order": np.array([12.0, np.nan, 0.5])})
    assert row_keys(KeySpec(column="order"), event(1), columns, range(3)) == ["12", None, "0.5"]
