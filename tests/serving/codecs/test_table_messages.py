"""Seldon's and TensorFlow Serving's messages as protobuf: its own library writes what is read."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, struct_pb2

from driftline.errors import DecodeError
from driftline.events import Payload
from serving import reasons
from tests.logger_sidecar.finishing import predict_messages
from tests.serving.codecs.reading_examples import columns, monitor_of
from tests.serving.table_messages import message_types

TYPES = message_types()
V2 = predict_messages.message_types()
MONITOR = monitor_of(
    [{"name": "a", "type": "numeric"}, {"name": "b", "type": "categorical"}], {"column": "y"}, task="regression"
)
EXPECTED = {"a": [0.5, 2.0], "b": ["Paris", "Köln"], "y": [1.5, 2.5]}


def seldon(document: dict[str, Any]) -> bytes:
    return bytes(json_format.ParseDict(document, TYPES["SeldonMessage"]()).SerializeToString())


def tensor(dtype: int, shape: Sequence[int], **fields: Any) -> Any:
    made = TYPES["TensorProto"](dtype=dtype, **fields)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def predict_request(**tensors: Any) -> bytes:
    made = TYPES["PredictRequest"](output_filter=["y"])
    made.model_spec.name = "m"
    for name, one in tensors.items():
        made.inputs[name].CopyFrom(one)
    return bytes(made.SerializeToString())


def predict_response(**tensors: Any) -> bytes:
    made = TYPES["PredictResponse"]()
    made.model_spec.name = "m"
    for name, one in tensors.items():
        made.outputs[name].CopyFrom(one)
    return bytes(made.SerializeToString())


def framed(body: bytes) -> Payload:
    """As a call carries it, and our sidecar keeps it."""
    return Payload(body=b"\0" + struct.pack(">I", len(body)) + body, content_type="application/grpc")


def bare(body: bytes) -> Payload:
    """As Seldon's request logger sends it."""
    return Payload(body=body, content_type="application/protobuf")


def untold(body: bytes) -> Payload:
    return Payload(body=body)


WAYS: list[Callable[[bytes], Payload]] = [framed, bare, untold]
Y = tensor(2, [2], double_val=[1.5, 2.5])


@pytest.mark.parametrize("way", WAYS)
def test_seldons_rows_are_read_as_their_json_is(way: Callable[[bytes], Payload]) -> None:
    asked = {"meta": {"puid": "p"}, "data": {"names": ["a", "b"], "ndarray": [[0.5, "Paris"], [2, "Köln"]]}}
    flat = {"names": ["y"], "tensor": {"shape": [2, 1], "values": [1.5, 2.5]}}
    told = {"status": {"code": 200}, "meta": {"tags": {"version": 1}}, "data": flat}
    assert columns(asked, told, MONITOR) == EXPECTED
    assert columns(way(seldon(asked)), way(seldon(told)), MONITOR) == EXPECTED


@pytest.mark.parametrize("way", [framed, bare])
def test_seldons_other_contents_are_read_where_it_is_said_that_they_are_protobuf(
    way: Callable[[bytes], Payload],
) -> None:
    for document in (
        {"jsonData": {"instances": [[0.5, "Paris"], [2, "Köln"]]}},
        {"jsonData": [{"a": 0.5, "b": "Paris", "c": None, "d": True}, {"a": 2, "b": "Köln"}]},
    ):
        assert columns(way(seldon(document)), monitor=MONITOR) == {"a": [0.5, 2.0], "b": ["Paris", "Köln"]}
    texts = monitor_of([{"name": "strData", "type": "categorical"}])
    assert columns(way(seldon({"strData": "Hi"})), monitor=texts) == {"strData": ["Hi"]}


@pytest.mark.parametrize("way", [framed, bare])
def test_a_broken_tensor_of_the_v2_protocol_is_no_text_of_seldons(way: Callable[[bytes], Payload]) -> None:
    one = V2["Tensor"](name="a", datatype="FP99", shape=[1])
    texts = monitor_of([{"name": "strData", "type": "categorical"}])
    with pytest.raises(DecodeError):
        columns(way(V2["Request"](inputs=[one]).SerializeToString()), monitor=texts)


def test_seldons_tensor_of_tensorflow_is_read() -> None:
    made = TYPES["SeldonMessage"]()
    made.data.names.extend(["a", "c"])
    made.data.tftensor.CopyFrom(tensor(1, [2, 2], float_val=[0.5, 7, 2, 8]))
    assert columns(bare(made.SerializeToString()), monitor=MONITOR) == {"a": [0.5, 2.0]}


@pytest.mark.parametrize("way", WAYS)
def test_predict_of_tensorflow_serving_is_read(way: Callable[[bytes], Payload]) -> None:
    asked = predict_request(
        a=tensor(1, [2, 1], tensor_content=struct.pack("<2f", 0.5, 2)),
        b=tensor(7, [2], string_val=[b"Paris", "Köln".encode()]),
    )
    assert columns(way(asked), way(predict_response(y=Y)), MONITOR) == EXPECTED


@pytest.mark.parametrize("length", [91, 123])  # of an entry: behind the line feed that is its field stands [ or {
def test_an_answer_that_looks_like_json_behind_a_line_feed_is_read(length: int) -> None:
    name = "y" * next(size for size in range(200) if answer_of("y" * size)[1] == length)
    body = answer_of(name)
    assert body[:2] in (b"\n[", b"\n{")
    monitor = monitor_of([{"name": "a", "type": "numeric"}], {"column": name}, task="regression")
    asked = predict_request(a=tensor(2, [2], double_val=[0.5, 2]))
    assert columns(bare(asked), bare(body), monitor) == {"a": [0.5, 2.0], name: [1.5, 2.5]}


def answer_of(name: str) -> bytes:
    made = TYPES["PredictResponse"]()
    made.outputs[name].CopyFrom(Y)
    return bytes(made.SerializeToString())


NUMBERS = {
    1: ("float_val", np.float32), 2: ("double_val", np.float64), 3: ("int_val", np.int32), 4: ("int_val", np.uint8),
    5: ("int_val", np.int16), 6: ("int_val", np.int8), 9: ("int64_val", np.int64), 10: ("bool_val", np.bool_),
    17: ("int_val", np.uint16), 22: ("uint32_val", np.uint32), 23: ("uint64_val", np.uint64),
}  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_type_of_tensorflow_is_read_typed_and_raw(dtype: int) -> None:
    field, kind = NUMBERS[dtype]
    if dtype == 10:
        values = np.array([True, False, True])
    elif np.issubdtype(kind, np.integer):
        values = np.array([np.iinfo(kind).min, 1, np.iinfo(kind).max], kind)
    else:
        values = np.array([-0.1, 3.5, 1e30], kind)
    for one in (
        tensor(dtype, [3], **{field: values.tolist()}),
        tensor(dtype, [3, 1], tensor_content=values.tobytes()),
    ):
        assert columns(framed(predict_request(a=one)), monitor=MONITOR)["a"] == values.astype(np.float64).tolist()


def test_half_precision_of_tensorflow_is_read() -> None:
    half = np.array([0.5, -2.0], "<f2").view("<u2").tolist()
    brain = (np.array([0.5, -2.0], "<f4").view("<u4") >> 16).tolist()
    for dtype, bits in ((19, half), (14, brain)):
        assert columns(bare(predict_request(a=tensor(dtype, [2], half_val=bits))), monitor=MONITOR)["a"] == [0.5, -2.0]


def test_values_that_tensorflow_left_out_are_the_last_one_again() -> None:
    one = tensor(2, [3], double_val=[4.0, 7.0])
    assert columns(bare(predict_request(a=one)), monitor=MONITOR)["a"] == [4.0, 7.0, 7.0]
    assert columns(bare(predict_request(a=tensor(2, [2]))), monitor=MONITOR)["a"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (predict_request(a=tensor(2, [1 << 40], double_val=[1.0])), reasons.SHAPE_MISMATCH),
        (predict_request(a=tensor(2, [1], double_val=[1.0, 2.0])), reasons.SHAPE_MISMATCH),
        (predict_request(a=tensor(2, [-1], double_val=[1.0])), reasons.SHAPE_MISMATCH),
        (predict_request(a=tensor(1, [2], tensor_content=b"\0" * 5)), reasons.SHAPE_MISMATCH),
        (predict_request(a=tensor(7, [1], tensor_content=b"\1a")), reasons.UNSUPPORTED_FORMAT),
        (seldon({"data": {"names": ["a"], "tensor": {"shape": [3], "values": [1.0]}}}), reasons.SHAPE_MISMATCH),
        (seldon({"status": {"code": 500, "info": "no"}}), reasons.UNSUPPORTED_FORMAT),
        (predict_request(a=tensor(8, [1], float_val=[1.0, 2.0])), reasons.UNSUPPORTED_FORMAT),
    ],
)
def test_what_contradicts_itself_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as found:
        columns(bare(body), monitor=MONITOR)
    assert found.value.reason == reason


def test_values_within_values_end_somewhere() -> None:
    value = bytes(json_format.ParseDict(1.0, struct_pb2.Value()).SerializeToString())
    for _ in range(80):
        value = field(6, field(1, value))
    with pytest.raises(DecodeError) as found:
        columns(bare(field(6, value)), monitor=MONITOR)
    assert found.value.reason == reasons.MALFORMED


def field(number: int, value: bytes) -> bytes:
    """A field of bytes, in two bytes of length."""
    return bytes([number << 3 | 2, len(value) & 0x7F | 0x80, len(value) >> 7]) + value
