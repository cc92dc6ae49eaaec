"""V2 over gRPC: protobuf's own library writes what is read."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import DecodeError
from driftline.events import Payload
from serving import reasons
from serving.codecs.packed_numbers import varints
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.serving.codecs.reading_examples import columns, monitor_of

TYPES = message_types()
NUMBERS = {
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int8),
    "INT16": ("int_contents", np.int16),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint8),
    "UINT16": ("uint_contents", np.uint16),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
}
MONITOR = monitor_of(
    [{"name": "a", "type": "numeric"}, {"name": "b", "type": "categorical"}], {"column": "y"}, task="regression"
)


def frame(*messages: Any, compressed: Any = None) -> bytes:
    parts = [message.SerializeToString() for message in messages]
    packed = [compressed(part) for part in parts] if compressed else parts
    return b"".join(bytes([compressed is not None]) + struct.pack(">I", len(part)) + part for part in packed)


def typed(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any], field: str) -> Any:
    return TYPES["Tensor"](name=name, datatype=datatype, shape=shape, contents=TYPES["Contents"](**{field: values}))


def request(*tensors: Any, raw: Sequence[bytes] = ()) -> Any:
    return TYPES["Request"](
        model_name="m", id="r1", inputs=tensors, raw_input_contents=raw, outputs=[TYPES["Requested"](name="y")]
    )


def response(*values: float) -> Any:
    return TYPES["Response"](model_name="m", outputs=[typed("y", "FP64", [len(values)], values, "fp64_contents")])


TEXTS = typed("b", "BYTES", [2], [b"Paris", "Köln".encode()], "bytes_contents")
ASKED = request(typed("a", "FP32", [2, 1], [0.5, float("nan")], "fp32_contents"), TEXTS)
EXPECTED = {"a": [0.5, None], "b": ["Paris", "Köln"], "y": [1.5, 2.5]}


def test_a_message_is_read_in_its_frame_bare_and_behind_the_prefix_of_a_registry() -> None:
    bare, answer = ASKED.SerializeToString(), response(1.5, 2.5).SerializeToString()
    registered = b"\0\0\0\0\x07"
    for asked, answered in (
        (frame(ASKED), frame(response(1.5, 2.5))),
        (bare, answer),
        (registered + b"\0" + bare, registered + b"\x02\x02" + answer),
    ):
        assert columns(asked, answered, MONITOR) == EXPECTED


def test_a_compressed_message_is_undone_by_its_encoding_and_by_its_mark() -> None:
    for pack, encoding in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        body = frame(ASKED, compressed=pack)
        for headers in ({"grpc-encoding": encoding}, {}):
            assert columns(Payload(body=body, headers=headers), frame(response(1.5, 2.5)), MONITOR) == EXPECTED


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_is_read_typed_and_raw(datatype: str) -> None:
    field, kind = NUMBERS[datatype]
    if datatype == "BOOL":
        values = np.array([True, False, True])
    elif np.issubdtype(kind, np.integer):
        values = np.array([np.iinfo(kind).min, 1, np.iinfo(kind).max], kind)
    else:
        values = np.array([-0.1, 3.5, 1e30], kind)
    wire = typed("a", datatype, [3], values.tolist(), field)
    raw = TYPES["Tensor"](name="a", datatype=datatype, shape=[3])
    expected = values.astype(np.float64).tolist()
    for message in (request(wire), request(raw, raw=[values.tobytes()])):
        assert columns(frame(message), monitor=MONITOR)["a"] == expected


def test_half_precision_is_read_raw_and_refused_without() -> None:
    half = np.array([0.5, -2.0], "<f2")
    brain = (np.array([0.5, -2.0], "<f4").view("<u4") >> 16).astype("<u2")
    for datatype, raw in (("FP16", half.tobytes()), ("BF16", brain.tobytes())):
        tensor = TYPES["Tensor"](name="a", datatype=datatype, shape=[2])
        assert columns(frame(request(tensor, raw=[raw])), monitor=MONITOR)["a"] == [0.5, -2.0]
        with pytest.raises(DecodeError, match="raw contents"):
            columns(frame(request(tensor)), monitor=MONITOR)


def test_unpacked_numbers_and_fields_of_later_versions_are_read_alike() -> None:
    # shape and contents as one field per number, and a field 99 that nobody knows
    tensor = b"\x0a\x01a\x12\x05INT32\x18\x02" + b"\x2a\x04\x10\x05\x10\x07" + b"\x9a\x06\x01x"
    message = b"\x2a" + bytes([len(tensor)]) + tensor
    own = TYPES["Request"].FromString(message)
    assert list(own.inputs[0].contents.int_contents) == [5, 7]
    assert columns(b"\0" + struct.pack(">I", len(message)) + message, monitor=MONITOR) == {"a": [5.0, 7.0]}


def test_a_stream_has_the_rows_of_all_its_messages() -> None:
    asked = [request(typed("a", "INT64", [1], [value], "int64_contents")) for value in (1, 2)]
    answered = [TYPES["StreamResponse"](infer_response=response(value)) for value in (0.5, 0.75)]
    end = TYPES["StreamResponse"](infer_response=TYPES["Response"](model_name="m"))
    assert columns(frame(*asked), frame(*answered, end), MONITOR) == {"a": [1.0, 2.0], "y": [0.5, 0.75]}
    assert columns(frame(asked[0]), frame(*answered), MONITOR)["y"] == [0.75]


def test_shared_memory_is_not_observable() -> None:
    tensor = TYPES["Tensor"](name="a", datatype="FP32", shape=[2])
    tensor.parameters["shared_memory_region"].string_param = "region"
    for body in (frame(request(tensor)), request(tensor).SerializeToString()):
        with pytest.raises(DecodeError) as found:
            columns(body, monitor=MONITOR)
        assert found.value.reason == reasons.NOT_OBSERVABLE
    with pytest.raises(DecodeError) as found:
        columns(frame(ASKED), frame(response(1)), MONITOR, not_observable="shared_memory")
    assert found.value.reason == reasons.NOT_OBSERVABLE


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request(typed("a", "FP32", [3], [1.0, 2.0], "fp32_contents")), reasons.SHAPE_MISMATCH),
        (request(typed("a", "FP64", [2], [1.0, 2.0], "fp32_contents")), reasons.MALFORMED),
        (request(typed("a", "FP99", [1], [1.0], "fp32_contents")), reasons.MALFORMED),
        (request(TYPES["Tensor"](name="a", datatype="FP32", shape=[1]), raw=[b"\0" * 5]), reasons.SHAPE_MISMATCH),
        (request(TYPES["Tensor"](name="a", datatype="FP32", shape=[1]), raw=[b"\0" * 4] * 2), reasons.MALFORMED),
        (request(TYPES["Tensor"](name="a", datatype="FP32", shape=[-1]), raw=[b""]), reasons.SHAPE_MISMATCH),
        (request(TEXTS, TEXTS), reasons.MALFORMED),
        (request(), reasons.NO_COLUMNS),
    ],
)
def test_a_message_that_does_not_add_up_is_refused(message: Any, reason: str) -> None:
    with pytest.raises(DecodeError) as found:
        columns(frame(message), monitor=MONITOR)
    assert found.value.reason == reason, found.value.detail


def test_a_cut_message_is_refused_at_every_length() -> None:
    whole = ASKED.SerializeToString()
    for length in range(1, len(whole)):
        cut = whole[:length]
        try:
            read = columns(b"\0" + struct.pack(">I", length) + cut, monitor=MONITOR)
        except DecodeError:
            continue
        # What is left may be a message of its own: then protobuf reads it, too.
        TYPES["Request"].FromString(cut)
        assert read in ({"a": [0.5, None]}, {"a": [0.5, None], "b": ["Paris", "Köln"]})


@given(st.lists(st.integers(-(2**63), 2**64 - 1), max_size=30))
def test_numbers_on_the_wire_are_those_of_protobuf(numbers: list[int]) -> None:
    unsigned = [number % 2**64 for number in numbers]
    contents = TYPES["Contents"](uint64_contents=unsigned).SerializeToString()
    packed = contents[2:] if len(contents) < 130 else contents[3:]
    assert varints(packed).tolist() == unsigned
