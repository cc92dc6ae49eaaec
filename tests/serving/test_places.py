"""Where a monitor says that values are: tensors with several columns, paths, raw bodies."""

import struct
from typing import Any

import numpy as np
import pytest

from driftline.errors import DecodeError
from driftline.events import Payload
from driftline.monitors import Monitor
from serving import reasons
from serving.decode_many import decode_many
from tests.serving.codecs.reading_examples import columns, monitor_of
from tests.serving.payload_examples import event, tensor

HELD = monitor_of(
    [
        *({"name": name, "type": "numeric"} for name in ("a", "b", "c")),
        {"name": "kind", "type": "categorical"},
    ],
    {"column": "y"},
    tensors={"features": ["a", "b", "c"]},
)
MIXED = monitor_of(
    [{"name": "a", "type": "numeric"}, {"name": "b", "type": "categorical"}], tensors={"features": ["a", "b"]}
)
PLACES = monitor_of(
    [
        {"name": "third", "type": "numeric", "from": "features[2]"},
        {"name": "last", "type": "categorical", "from": "features[-1]"},
        {"name": "shared", "type": "numeric", "from": "parameters.temperature"},
        {"name": "deep", "type": "categorical", "from": "customer.address.city"},
    ]
)


def test_the_values_of_one_tensor_are_columns_in_the_order_that_the_monitor_gives() -> None:
    for data in ([[1, 2, 3], [4, None, 6]], [1, 2, 3, 4, None, 6]):
        request = {"inputs": [tensor("features", data, "FP32", [2, 3]), tensor("kind", ["x", "y"], "BYTES")]}
        assert columns(request, monitor=HELD) == {
            "a": [1.0, 4.0],
            "b": [2.0, None],
            "c": [3.0, 6.0],
            "kind": ["x", "y"],
        }
    mixed = {"inputs": [tensor("features", [1, "x", 2, 3.0], "BYTES", [2, 2])]}
    assert columns(mixed, monitor=MIXED) == {"a": [1.0, 2.0], "b": ["x", "3"]}


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2], [2, 2]])
def test_a_tensor_of_another_width_is_refused(shape: list[int]) -> None:
    values = list(range(int(np.prod(shape))))
    with pytest.raises(DecodeError, match="3 columns for each row") as found:
        columns({"inputs": [tensor("features", values, "FP32", shape)]}, monitor=HELD)
    assert found.value.reason == reasons.SHAPE_MISMATCH


def test_a_place_is_found_in_tensors_rows_and_the_document() -> None:
    features = tensor("features", [1, 2, 3, 4, 5, 6], "FP32", [2, 3])
    found = columns({"parameters": {"temperature": 0.5}, "inputs": [features]}, monitor=PLACES)
    assert found == {"third": [3.0, 6.0], "last": ["3", "6"], "shared": [0.5, 0.5]}
    rows = [
        {"features": [1, 2, 3], "customer": {"address": {"city": "Rome"}}},
        {"features": [4, 5, 6], "customer": {}},
    ]
    found = columns({"parameters": {"temperature": 0.5}, "instances": rows}, monitor=PLACES)
    assert found == {"third": [3.0, 6.0], "last": ["3", "6"], "shared": [0.5, 0.5], "deep": ["Rome", None]}


def test_every_item_of_a_list_is_a_row() -> None:
    monitor = monitor_of(
        [
            {"name": "price", "type": "numeric", "from": "basket.items[*].price"},
            {"name": "shop", "type": "categorical", "from": "basket.shop"},
        ],
        {"column": "good", "from": "verdicts[*].ok", "score": "p", "score_from": "verdicts[*].p"},
    )
    request = {"basket": {"shop": "S", "items": [{"price": 1}, {"price": None}, {}]}}
    response = {"verdicts": [{"ok": True, "p": 0.9}, {"ok": False, "p": 0.1}, {"ok": "maybe"}]}
    assert columns(request, response, monitor) == {
        "price": [1.0, None, None],
        "shop": ["S", "S", "S"],
        "good": ["1", "0", "maybe"],
        "p": [0.9, 0.1, None],
    }
    with pytest.raises(DecodeError) as found:
        columns(request, {"verdicts": [{"ok": True}]}, monitor)
    assert found.value.reason == reasons.SHAPE_MISMATCH


def test_events_with_different_numbers_of_items_keep_their_rows_apart_in_a_batch() -> None:
    monitor = monitor_of(
        [
            {"name": "price", "type": "numeric", "from": "items[*].price"},
            {"name": "shop", "type": "categorical", "from": "shop"},
        ]
    )
    events = [
        event(
            {"shop": str(count), "items": [{"price": place} for place in range(count)]}, {"x": 1}, answer_unknown=True
        )
        for count in (2, 0, 3, 1)
    ]
    batch = decode_many(events, monitor)
    assert batch.events.tolist() == [0, 0, 2, 2, 2, 3]
    assert batch.rows.tolist() == [0, 1, 0, 1, 2, 0]
    assert batch.columns.numeric["price"].tolist() == [0.0, 1.0, 0.0, 1.0, 2.0, 0.0]
    assert batch.columns.text["shop"].tolist() == ["2", "2", "3", "3", "3", "1"]


def raw_monitor(datatype: str | None, width: int = 2) -> Monitor:
    names = [f"x{number}" for number in range(width)]
    return monitor_of([{"name": name, "type": "numeric"} for name in names], raw_datatype=datatype)


def raw(body: bytes) -> Payload:
    return Payload(body=body, headers={"inference-header-content-length": "0"})


@pytest.mark.parametrize(
    ("datatype", "body"),
    [
        ("FP32", struct.pack("<4f", 1, 2, 3, 4)),
        ("FP64", struct.pack("<4d", 1, 2, 3, 4)),
        ("INT8", bytes([1, 2, 3, 4])),
        ("FP16", struct.pack("<4e", 1, 2, 3, 4)),
        ("BF16", b"".join(struct.pack("<f", value)[2:] for value in (1, 2, 3, 4))),
    ],
)
def test_a_raw_body_is_read_by_the_type_that_the_monitor_names(datatype: str, body: bytes) -> None:
    assert columns(raw(body), monitor=raw_monitor(datatype)) == {"x0": [1.0, 3.0], "x1": [2.0, 4.0]}
    with pytest.raises(DecodeError, match="raw_datatype"):
        columns(raw(body), monitor=raw_monitor(None))
    with pytest.raises(DecodeError, match="multiple"):
        columns(raw(body), monitor=raw_monitor(datatype, 3))


def test_a_raw_body_of_bytes_is_one_element() -> None:
    monitor = monitor_of([{"name": "size", "type": "numeric", "from": "body", "as": "bytes"}], raw_datatype="BYTES")
    assert columns(raw(b"\xff\x00abc"), monitor=monitor) == {"size": [5.0]}


def test_a_column_of_its_own_place_counts_as_missing_where_the_place_is_not_there() -> None:
    assert columns({"instances": [{"features": [1, 2, 3]}]}, monitor=PLACES) == {"third": [3.0], "last": ["3"]}
    with pytest.raises(DecodeError) as found:
        columns({"instances": [{"other": 5}]}, monitor=PLACES)
    assert found.value.reason == reasons.NO_COLUMNS


@pytest.mark.parametrize("request_body", [{"inputs": [tensor("a", [1]), tensor("a", [2])]}])
def test_a_name_that_is_there_twice_is_refused(request_body: Any) -> None:
    with pytest.raises(DecodeError, match="twice"):
        columns(request_body, monitor=monitor_of([{"name": "a", "type": "numeric"}]))
