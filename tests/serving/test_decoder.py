import gzip
import math
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from driftline.columns import ColumnBatch
from driftline.errors import DecodeError
from driftline.events import Payload
from driftline.monitors import Monitor
from serving import reasons
from tests.parts.decoding import decode
from tests.serving.payload_examples import V2_REQUEST, V2_RESPONSE, event, monitor, tensor

NO_ANSWER: dict[str, Any] = {"outputs": []}


def columns(batch: ColumnBatch) -> dict[str, list[Any]]:
    """The batch as plain lists, NaN as None."""
    numbers = {
        name: [None if math.isnan(value) else value for value in values] for name, values in batch.numeric.items()
    }
    return {**numbers, **{name: list(values) for name, values in batch.text.items()}}


EXPECTED = {
    "age": [31.0, None],
    "income": [1000.5, 2e5],
    "city": ["Paris", "Rome"],
    "default": ["0", "1"],
    "probability": [0.25, 0.75],
}


def test_v2_json_with_a_tensor_per_column_becomes_the_monitors_columns() -> None:
    batch = decode(event(V2_REQUEST, V2_RESPONSE), monitor())
    assert batch.rows == 2
    assert columns(batch) == EXPECTED
    assert {values.dtype for values in batch.numeric.values()} == {np.dtype(np.float64)}
    assert {values.dtype for values in batch.text.values()} == {np.dtype(object)}


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP, identity", None])
def test_gzip_is_undone_with_or_without_its_header(encoding: str | None) -> None:
    request = Payload(body=gzip.compress(repr_json(V2_REQUEST)), content_encoding=encoding)
    assert columns(decode(event(request, V2_RESPONSE), monitor())) == EXPECTED


@pytest.mark.parametrize("window_bits", [zlib.MAX_WBITS, -zlib.MAX_WBITS])
def test_deflate_is_undone_as_zlib_stream_and_as_bare_one(window_bits: int) -> None:
    packer = zlib.compressobj(wbits=window_bits)
    body = packer.compress(repr_json(V2_REQUEST)) + packer.flush()
    request = Payload(body=body, content_encoding="deflate")
    assert columns(decode(event(request, V2_RESPONSE), monitor())) == EXPECTED


def test_v1_rows_with_names_become_the_same_columns_whatever_protocol_the_event_claims() -> None:
    request = {"instances": [{"age": 31, "income": 1000.5, "city": "Paris"}, {"income": 2e5, "city": "Rome", "x": 1}]}
    response = {"predictions": [{"default": 0, "probability": 0.25}, {"default": 1, "probability": 0.75}]}
    for protocol in ("v1", "v2", "", "openai"):
        assert columns(decode(event(request, response, protocol=protocol), monitor())) == EXPECTED


def test_v2_is_read_although_the_event_claims_v1() -> None:
    assert columns(decode(event(V2_REQUEST, V2_RESPONSE, protocol="v1"), monitor())) == EXPECTED


def test_v1_columns_and_v1_lists_become_the_same_columns() -> None:
    by_column = {"inputs": {"age": [31, None], "income": [[1000.5], [2e5]], "city": ["Paris", "Rome"]}}
    by_list = {"instances": [[31, 1000.5, "Paris"], [None, 2e5, "Rome"]]}
    response = {"outputs": {"default": [0, 1], "probability": [0.25, 0.75]}}
    assert columns(decode(event(by_column, response), monitor())) == EXPECTED
    assert columns(decode(event(by_list, response), monitor())) == EXPECTED


def test_v2_rows_as_objects_in_one_tensor_are_read_by_name() -> None:
    rows = [{"age": 31, "income": 1000.5, "city": "Paris"}, {"age": None, "income": 2e5, "city": "Rome"}]
    request = {"inputs": [tensor("rows", rows, "BYTES")]}
    assert columns(decode(event(request, V2_RESPONSE), monitor())) == EXPECTED


def test_one_tensor_as_wide_as_the_monitor_is_read_in_its_order_flat_or_nested() -> None:
    numeric = monitor(columns=(("a", "numeric"), ("b", "numeric"), ("c", "categorical")), score=None)
    response = {"predictions": [1, 0]}
    expected = {"a": [1.0, 4.0], "b": [2.0, 5.0], "c": ["3", "6"], "default": ["1", "0"]}
    for data in ([1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]):
        request = {"inputs": [tensor("input-0", data, "INT64", [2, 3])]}
        assert columns(decode(event(request, response), numeric)) == expected


def test_columns_absent_from_the_payload_are_absent_from_the_batch() -> None:
    request = {"inputs": [tensor("age", [31])]}
    response = {"outputs": [tensor("other", [1]), tensor("another", [1])]}
    assert decode(event(request, response), monitor()).names() == {"age"}


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([1, 0], {"default": ["1", "0"]}),
        ([[1], [0]], {"default": ["1", "0"]}),
        (["yes", "no"], {"default": ["yes", "no"]}),
        ([True, False], {"default": ["1", "0"]}),
        ([1.0, 0.0], {"default": ["1", "0"]}),
        ([[0.25, 0.75], [0.9, 0.1]], {"default": ["1", "0"], "probability": [0.75, 0.1]}),
        ([[1, 0.9], [0, 0.2]], {"default": ["1", "0"], "probability": [0.9, 0.2]}),
        ([["bad", 0.9], ["good", 0.2]], {"default": ["bad", "good"], "probability": [0.9, 0.2]}),
    ],
)
def test_v1_predictions_may_be_values_lists_or_probabilities(predictions: Any, expected: dict[str, Any]) -> None:
    request = {"inputs": [tensor("age", [31, 32])]}
    found = columns(decode(event(request, {"predictions": predictions}), monitor()))
    assert {name: values for name, values in found.items() if name != "age"} == expected


def test_a_single_output_of_another_name_is_the_prediction() -> None:
    response = {"outputs": [tensor("output-0", [0.5, 0.7])]}
    found = decode(event({"inputs": [tensor("age", [1, 2])]}, response), monitor("regression", None))
    assert found.numeric["default"].tolist() == [0.5, 0.7]


def test_a_score_with_two_values_per_row_gives_the_positive_class() -> None:
    response = {"outputs": [tensor("default", [1], "INT64"), tensor("probability", [[0.1, 0.9]], shape=[1, 2])]}
    assert decode(event({"inputs": [tensor("age", [1])]}, response), monitor()).numeric["probability"].tolist() == [0.9]


def test_numbers_keep_infinities_and_read_the_nan_of_python_clients() -> None:
    body = b'{"inputs":[{"name":"age","shape":[4],"datatype":"FP64","data":[NaN,Infinity,-Infinity,1e400]}]}'
    age = decode(event(body, NO_ANSWER), monitor()).numeric["age"].tolist()
    assert math.isnan(age[0])
    assert age[1:] == [math.inf, -math.inf, math.inf]


def test_categories_are_spelt_alike_whatever_type_they_come_in() -> None:
    data = ["a", None, 1, 1.0, True, False, 0.5, -0.0, 12345678901234567890]
    city = decode(event({"inputs": [tensor("city", data, "BYTES")]}, NO_ANSWER), monitor()).text["city"]
    assert city.tolist() == ["a", None, "1", "1", "1", "0", "0.5", "0", "12345678901234567890"]


def binary_body(parts: list[tuple[str, str, list[int], bytes]]) -> tuple[bytes, str]:
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for name, datatype, shape, raw in parts
    ]
    text = repr_json({"inputs": inputs})
    return text + b"".join(part[3] for part in parts), str(len(text))


def test_binary_tensors_are_read_with_their_header_and_when_it_was_lost() -> None:
    cities = b"".join(struct.pack("<I", len(text)) + text for text in (b"Paris", "Köln}{".encode()))
    body, length = binary_body(
        [
            ("age", "FP32", [2, 1], struct.pack("<2f", 31.5, float("nan"))),
            ("city", "BYTES", [2], cities),
            ("income", "INT64", [2], struct.pack("<2q", -5, 7)),
        ]
    )
    expected = {"age": [31.5, None], "income": [-5.0, 7.0], "city": ["Paris", "Köln}{"]}
    with_header = Payload(body=body, headers={"inference-header-content-length": length})
    for request in (with_header, Payload(body=body), Payload(body=gzip.compress(body))):
        assert columns(decode(event(request, NO_ANSWER), monitor())) == expected


@pytest.mark.parametrize(
    ("datatype", "raw", "value"),
    [
        ("BOOL", b"\x01", 1.0),
        ("UINT8", b"\xff", 255.0),
        ("INT8", b"\xff", -1.0),
        ("UINT16", b"\x01\x02", 513.0),
        ("INT16", b"\xfe\xff", -2.0),
        ("UINT32", b"\x00\x00\x00\x80", 2147483648.0),
        ("INT32", b"\x00\x00\x00\x80", -2147483648.0),
        ("UINT64", b"\x00" * 7 + b"\x80", 2.0**63),
        ("INT64", b"\x00" * 7 + b"\x80", -(2.0**63)),
        ("FP16", struct.pack("<e", 0.333), struct.unpack("<e", struct.pack("<e", 0.333))[0]),
        ("BF16", struct.pack("<f", -1.5)[2:], -1.5),
        ("FP32", struct.pack("<f", 0.1), struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("FP64", struct.pack("<d", 0.1), 0.1),
    ],
)
def test_every_datatype_is_read_from_its_little_endian_bytes(datatype: str, raw: bytes, value: float) -> None:
    body, length = binary_body([("age", datatype, [1], raw)])
    request = Payload(body=body, headers={"inference-header-content-length": length})
    assert decode(event(request, NO_ANSWER), monitor()).numeric["age"].tolist() == [value]


def test_a_float32_category_is_spelt_as_itself() -> None:
    body, length = binary_body([("city", "FP32", [3], struct.pack("<3f", 0.1, 3, 25769803776))])
    request = Payload(body=body, headers={"inference-header-content-length": length})
    assert decode(event(request, NO_ANSWER), monitor()).text["city"].tolist() == ["0.1", "3", "25769803776"]


@pytest.mark.parametrize("status", [0, 301, 400, 404, 500, 503])
def test_an_answer_that_is_no_success_has_no_rows_whatever_its_bodies_hold(status: int) -> None:
    assert decode(event(b"garbage", b"", status_code=status, truncated=True), monitor()).rows == 0


def test_a_grpc_error_under_status_200_has_no_rows() -> None:
    assert decode(event(b"", b"", grpc_status=13), monitor()).rows == 0


def refused(found: pytest.ExceptionInfo[DecodeError], reason: str, *words: str) -> None:
    assert found.value.reason == reason
    assert reason in reasons.ALL
    for word in words:
        assert word in found.value.detail


@pytest.mark.parametrize(
    ("request_content", "response", "reason", "words"),
    [
        (b"", V2_RESPONSE, reasons.UNSUPPORTED_FORMAT, ["request", "0 bytes"]),
        (b"\x00\x00\x00\x00\x05grpc!", V2_RESPONSE, reasons.MALFORMED, ["request", "V2"]),
        (b'{"inputs": [', V2_RESPONSE, reasons.MALFORMED, ["JSON"]),
        (b'{"a": 1}', V2_RESPONSE, reasons.UNSUPPORTED_FORMAT, ["instances", "inputs", "a"]),
        ({"questions": []}, V2_RESPONSE, reasons.UNSUPPORTED_FORMAT, ["questions"]),
        ({"inputs": [{"name": "age", "datatype": "FP64"}]}, V2_RESPONSE, reasons.MALFORMED, ["shape", "inputs[0]"]),
        ({"inputs": [tensor("age", [1, 2], shape=[3])]}, V2_RESPONSE, reasons.SHAPE_MISMATCH, ["age", "[3]", "2"]),
        ({"inputs": [tensor("age", ["old"])]}, NO_ANSWER, reasons.WRONG_TYPE, ["age", "'old'", "row 0"]),
        ({"inputs": [tensor("age", [1, {"a": 1}])]}, NO_ANSWER, reasons.WRONG_TYPE, ["age", "row 1"]),
        ({"inputs": [tensor("city", [{"a": 1}, 2], "BYTES")]}, NO_ANSWER, reasons.MALFORMED, ["city"]),
        ({"inputs": [tensor("x", [1]), tensor("y", [2])]}, NO_ANSWER, reasons.NO_COLUMNS, ["'x'", "'age'"]),
        ({"inputs": [tensor("x", [1, 2, 3, 4], shape=[1, 4])]}, NO_ANSWER, reasons.SHAPE_MISMATCH, ["[1, 4]", "3"]),
        ({"inputs": [tensor("age", [1, 2, 3, 4], shape=[2, 2])]}, NO_ANSWER, reasons.SHAPE_MISMATCH, ["age"]),
        (
            {"inputs": [tensor("age", [1, 2]), tensor("income", [1])]},
            NO_ANSWER,
            reasons.SHAPE_MISMATCH,
            ["'income' has 1 rows", "'age' has 2"],
        ),
        (
            {"inputs": [tensor("age", [1, 2])]},
            {"predictions": [1]},
            reasons.SHAPE_MISMATCH,
            ["'default' has 1 rows", "'age' has 2"],
        ),
        ({"instances": [[1, 2, "a"], [1]]}, {"predictions": [1]}, reasons.SHAPE_MISMATCH, ["instances[1]"]),
        ({"instances": [{"age": 1}, [1]]}, {"predictions": [1]}, reasons.MALFORMED, ["instances[1]"]),
        ({"instances": [{"b": 1}]}, {"predictions": [1]}, reasons.NO_COLUMNS, ["'age'"]),
        ({"inputs": [tensor("age", [1])]}, {"error": "x"}, reasons.UNSUPPORTED_FORMAT, ["response"]),
        (
            {"inputs": [tensor("age", [1])]},
            {"predictions": [[0.5, 0.2, 0.9]]},
            reasons.SHAPE_MISMATCH,
            ["'default'", "3 values"],
        ),
    ],
)
def test_a_payload_that_cannot_be_columns_is_refused_with_field_and_value(
    request_content: Any, response: Any, reason: str, words: list[str]
) -> None:
    with pytest.raises(DecodeError) as found:
        decode(event(request_content, response), monitor())
    refused(found, reason, *words)


def test_a_truncated_event_is_refused_as_such() -> None:
    with pytest.raises(DecodeError) as found:
        decode(event(V2_REQUEST, V2_RESPONSE, truncated=True), monitor())
    refused(found, reasons.TRUNCATED, "e1")


def test_shared_memory_is_not_observable() -> None:
    shared = {"name": "age", "shape": [2], "datatype": "FP64", "parameters": {"shared_memory_region": "r"}}
    with pytest.raises(DecodeError) as found:
        decode(event({"inputs": [shared]}, V2_RESPONSE), monitor())
    refused(found, reasons.NOT_OBSERVABLE, "age")


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (gzip.compress(b"{}", mtime=0)[:-5], "gzip", reasons.MALFORMED),
        (b"\x1f\x8bnothing", None, reasons.MALFORMED),
        (b"abc", "deflate", reasons.MALFORMED),
        (b"abc", "lzma", reasons.UNSUPPORTED_FORMAT),
        (b"abc", "br", reasons.MALFORMED),
        (b"abc", "zstd", reasons.MALFORMED),
        (gzip.compress(bytes(65 * 1024 * 1024), mtime=0), "gzip", reasons.TOO_LARGE),
    ],
)
def test_a_broken_or_huge_compressed_body_is_refused(body: bytes, encoding: str | None, reason: str) -> None:
    with pytest.raises(DecodeError) as found:
        decode(event(Payload(body=body, content_encoding=encoding), V2_RESPONSE), monitor())
    refused(found, reason)


@pytest.mark.parametrize(
    ("tail", "header", "reason"),
    [
        (b"\x00" * 7, None, reasons.MALFORMED),
        (b"\x00" * 9, None, reasons.MALFORMED),
        (b"\x00" * 8, "99999", reasons.MALFORMED),
        (b"\x00" * 8, "-1", reasons.MALFORMED),
        (b"\x00" * 8, "x", reasons.MALFORMED),
        (b"\x00" * 8, "0", reasons.UNSUPPORTED_FORMAT),
    ],
)
def test_binary_bodies_whose_bytes_do_not_add_up_are_refused(tail: bytes, header: str | None, reason: str) -> None:
    body, _ = binary_body([("age", "FP64", [1], b"\x00" * 8)])
    headers = {} if header is None else {"inference-header-content-length": header}
    with pytest.raises(DecodeError) as found:
        decode(event(Payload(body=body[:-8] + tail, headers=headers), V2_RESPONSE), monitor())
    refused(found, reason)


def test_a_body_of_escaped_quotes_is_refused_in_time_that_grows_with_its_length() -> None:
    with pytest.raises(DecodeError):
        decode(event(b'{"' + b'\\"' * 2_000_000, V2_RESPONSE), monitor())


def test_a_monitor_of_one_column_takes_a_tensor_of_any_name() -> None:
    single: Monitor = monitor(columns=(("age", "numeric"),))
    for shape in ([2], [2, 1]):
        batch = decode(event({"inputs": [tensor("x", [1, 2], shape=shape)]}, NO_ANSWER), single)
        assert batch.numeric["age"].tolist() == [1.0, 2.0]


def repr_json(content: Any) -> bytes:
    return event(content, {}).request.body
