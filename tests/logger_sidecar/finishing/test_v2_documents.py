"""V2 messages as documents and back: protobuf's own library writes what is read and reads what is written."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.protobuf_wire import WireError
from logger_sidecar.finishing.protobuf_wire import read_fields
from logger_sidecar.finishing.tensor_data import TensorError
from logger_sidecar.finishing.v2_documents import read_request, read_response, write_request, write_response
from tests.logger_sidecar.finishing.predict_messages import message_types

TYPES = message_types()
CONTENTS = {
    "BOOL": ("bool_contents", st.booleans()),
    "INT32": ("int_contents", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("int64_contents", st.integers(-(2**63), 2**63 - 1)),
    "UINT32": ("uint_contents", st.integers(0, 2**32 - 1)),
    "UINT64": ("uint64_contents", st.integers(0, 2**64 - 1)),
    "FP32": ("fp32_contents", st.floats(width=32, allow_nan=False)),
    "FP64": ("fp64_contents", st.floats(allow_nan=False)),
    "BYTES": ("bytes_contents", st.binary(max_size=5)),
}
parameters = st.dictionaries(
    st.text(max_size=3),
    st.one_of(
        st.tuples(st.just("bool_param"), st.booleans()),
        st.tuples(st.just("int64_param"), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("string_param"), st.text(max_size=4)),
        st.tuples(st.just("double_param"), st.floats(allow_nan=False)),
        st.tuples(st.just("uint64_param"), st.integers(2**63, 2**64 - 1)),
    ),
    max_size=2,
)


def _fill(holder, drawn):
    for name, (kind, value) in drawn.items():
        setattr(holder.parameters[name], kind, value)


@st.composite
def messages(draw, kind: str, tensors: str):
    message = TYPES[kind](model_name=draw(st.text(max_size=4)), id=draw(st.text(max_size=4)))
    _fill(message, draw(parameters))
    for _ in range(draw(st.integers(0, 3))):
        tensor = getattr(message, tensors).add(name=draw(st.text(max_size=4)))
        tensor.datatype = draw(st.sampled_from(sorted(CONTENTS)))
        tensor.shape.extend(draw(st.lists(st.integers(-1, 9), max_size=2)))
        _fill(tensor, draw(parameters))
        name, values = CONTENTS[tensor.datatype]
        getattr(tensor.contents, name).extend(draw(st.lists(values, min_size=1, max_size=3)))
    if kind == "Request":
        for _ in range(draw(st.integers(0, 2))):
            _fill(message.outputs.add(name=draw(st.text(max_size=3))), draw(parameters))
    return message


@given(messages("Request", "inputs"))
def test_a_request_comes_back_as_it_was(message) -> None:
    assert TYPES["Request"].FromString(write_request(read_request(message.SerializeToString()))) == message


@given(messages("Response", "outputs"))
def test_a_response_comes_back_as_it_was(message) -> None:
    assert TYPES["Response"].FromString(write_response(read_response(message.SerializeToString()))) == message


@given(messages("Response", "outputs"))
def test_an_answer_of_a_stream_comes_back_as_it_was(message) -> None:
    stream = TYPES["StreamResponse"](error_message="e", infer_response=message)
    assert TYPES["StreamResponse"].FromString(write_response(read_response(stream.SerializeToString()))) == stream


def test_raw_contents_become_values_and_raw_contents_again() -> None:
    raws = [struct.pack("<3f", 1, 2, 3), struct.pack("<I2sI", 2, b"hi", 0), b"\x01\x00"]
    message = TYPES["Request"](model_name="m", raw_input_contents=raws)
    for name, datatype, size in (("a", "FP32", 3), ("b", "BYTES", 2), ("c", "FP16", 1)):
        message.inputs.add(name=name, datatype=datatype, shape=[size])
    document = read_request(message.SerializeToString())
    assert [list(tensor["data"]) for tensor in document["inputs"]] == [[1, 2, 3], ["hi", ""], [1]]
    assert TYPES["Request"].FromString(write_request(document)) == message


def test_a_tensor_in_shared_memory_has_no_raw_contents() -> None:
    message = TYPES["Request"](raw_input_contents=[b"\x01"])
    shared = message.inputs.add(name="shared", datatype="FP32")
    shared.parameters["shared_memory_region"].string_param = "r"
    message.inputs.add(name="here", datatype="BOOL")
    assert TYPES["Request"].FromString(write_request(read_request(message.SerializeToString()))) == message


def test_a_field_that_the_protocol_does_not_name_is_refused() -> None:
    with pytest.raises(WireError, match="field 9"):
        read_request(b"\x4a\x06secret")


@given(st.binary(max_size=60))
def test_junk_is_refused_or_read_and_nothing_else(junk: bytes) -> None:
    for read in (read_request, read_response, read_fields):
        try:
            read(junk)
        except (WireError, TensorError, ValueError, OverflowError, struct.error, TypeError):
            continue
