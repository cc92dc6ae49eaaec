"""Every way in which tabular models are asked and answer gives the same rows."""

import base64
import gzip
import io
import json
import zlib
from typing import Any

import brotli
import pandas as pd
import pytest
import zstandard

from driftline.errors import DecodeError
from driftline.events import Payload
from serving import reasons
from tests.parts.decoding import decode
from tests.serving.codecs.reading_examples import ROWS, TABLE, body, columns, monitor_of, payload
from tests.serving.payload_examples import V2_RESPONSE, event

FRAME = pd.DataFrame({"age": [31.0, None], "income": [1000.5, 2e5], "city": ["Paris", "Rome"], "other": [1, 2]})
RECORDS = json.loads(FRAME.to_json(orient="records"))
SPLIT = json.loads(FRAME.to_json(orient="split"))
NAMES = ["age", "income", "city"]
LISTS = [[row[name] for name in NAMES] for row in RECORDS]

REQUESTS: dict[str, Any] = {
    "v1 rows by name": {"instances": RECORDS},
    "v1 rows in order": {"instances": LISTS},
    "v1 inputs as rows": {"inputs": RECORDS},
    "tf columns": {"signature_name": "x", "inputs": {name: [row[name] for row in RECORDS] for name in NAMES}},
    "tf examples with context": {"context": {}, "examples": RECORDS},
    "mlflow split": {"dataframe_split": SPLIT},
    "mlflow split before 2.0": SPLIT,
    "mlflow records": {"dataframe_records": RECORDS, "params": {"x": 1}},
    "mlflow records before 2.0": RECORDS,
    "seldon ndarray with names": {"data": {"names": NAMES, "ndarray": LISTS}},
    "seldon ndarray with more names": {"data": {"names": ["x", *NAMES], "ndarray": [[0, *row] for row in LISTS]}},
    "seldon ndarray without names": {"data": {"ndarray": LISTS}, "meta": {"puid": "r1"}},
    "seldon tensor": {"data": {"names": NAMES, "tensor": {"shape": [2, 3], "values": LISTS[0] + LISTS[1]}}},
    "seldon jsonData": {"jsonData": {"instances": RECORDS}},
    "seldon jsonData as rows": {"jsonData": RECORDS},
    "sagemaker features": {"instances": [{"features": row} for row in LISTS]},
    "sagemaker nested features": {"instances": [{"data": {"features": {"values": row}}} for row in LISTS]},
    "json lines": "\n".join(map(json.dumps, RECORDS)).encode() + b"\n",
    "json lines of features": "\r\n".join(json.dumps({"features": row}) for row in LISTS).encode(),
    "csv with names": FRAME.to_csv(index=False).encode(),
    "csv with a mark and other line ends": b"\xef\xbb\xbf" + FRAME.to_csv(index=False, lineterminator="\r\n").encode(),
    "csv without names": FRAME[NAMES].to_csv(index=False, header=False).encode(),
    "torchserve list": RECORDS,
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_every_form_of_a_table_gives_the_same_rows(name: str) -> None:
    for protocol in ("v1", "v2", "invocations", "seldon", ""):
        assert columns(REQUESTS[name], protocol=protocol) == ROWS


@pytest.mark.parametrize(
    ("pack", "encoding", "is_marked"),
    [
        (gzip.compress, "gzip", True),
        (zlib.compress, "deflate", True),
        (brotli.compress, "br", False),
        (zstandard.compress, "zstd", True),
        (lambda data: gzip.compress(brotli.compress(data)), "br, gzip", False),
        (lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:]), "gzip", True),
        (lambda data: zstandard.compress(data[:20]) + zstandard.compress(data[20:]), "zstd", True),
    ],
)
def test_codings_are_undone_by_header_and_where_they_have_a_mark_without(
    pack: Any, encoding: str, is_marked: bool
) -> None:
    for name in ("v1 rows by name", "csv with names"):
        content = REQUESTS[name]
        plain = content if isinstance(content, bytes) else body(content)
        assert columns(Payload(body=pack(plain), content_encoding=encoding)) == ROWS
        if is_marked:
            assert columns(Payload(body=pack(plain))) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, zstandard.compress, brotli.compress])
def test_a_small_body_that_unpacks_to_a_huge_one_is_refused_unread(pack: Any) -> None:
    encoding = {gzip.compress: "gzip", zlib.compress: "deflate", zstandard.compress: "zstd"}.get(pack, "br")
    bomb = payload(pack(b'{"inputs": "' + b"a" * (80 << 20)), content_encoding=encoding)
    with pytest.raises(DecodeError) as found:
        decode(event(bomb, V2_RESPONSE), TABLE)
    assert found.value.reason == reasons.TOO_LARGE


ANSWERS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "v1 values": ({"predictions": [0, 1]}, {"default": ["0", "1"]}),
    "v1 shares": ({"predictions": [[0.9, 0.1], [0.2, 0.8]]}, {"default": ["0", "1"], "probability": [0.1, 0.8]}),
    "v1 objects": (
        {"predictions": [{"default": 0, "probability": 0.1}, {"default": 1, "probability": 0.8}]},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "tf outputs of one name": (
        {"outputs": [[0.9, 0.1], [0.2, 0.8]]},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "tf outputs by name": (
        {"outputs": {"default": [0, 1], "probability": [[0.1], [0.8]]}},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "tf classify": (
        {"results": [[["0", 0.9], ["1", 0.1]], [["0", 0.2], ["1", 0.8]]]},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "tf regress": ({"results": [0, 1]}, {"default": ["0", "1"]}),
    "mlflow before 2.0": ([0, 1], {"default": ["0", "1"]}),
    "seldon shares with names": (
        {"data": {"names": ["t:0", "t:1"], "ndarray": [[0.9, 0.1], [0.2, 0.8]]}, "meta": {}},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "seldon names that fit": (
        {"data": {"names": ["probability", "default"], "tensor": {"shape": [2, 2], "values": [0.1, 0, 0.8, 1]}}},
        {"default": ["0", "1"], "probability": [0.1, 0.8]},
    ),
    "seldon jsonData": ({"jsonData": {"predictions": [0, 1]}}, {"default": ["0", "1"]}),
    "csv of shares": (b"0.9,0.1\n0.2,0.8\n", {"default": ["0", "1"], "probability": [0.1, 0.8]}),
    "json lines": (b'{"default": 0}\n{"default": 1}', {"default": ["0", "1"]}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_form_of_an_answer_gives_prediction_and_score(name: str) -> None:
    answer, expected = ANSWERS[name]
    content_type = "text/csv" if name.startswith("csv") else None
    response = answer if not isinstance(answer, bytes) else payload(answer, content_type=content_type)
    assert columns({"instances": RECORDS}, response) == {**ROWS, **expected}


def test_one_row_may_be_an_object_and_its_answer_classes_with_shares() -> None:
    found = columns({"age": 31, "income": 5, "city": "Paris", "x": 0}, {"1": 0.75, "0": 0.25})
    assert found == {"age": [31.0], "income": [5.0], "city": ["Paris"], "default": ["1"], "probability": [0.75]}
    assert columns({"age": 31}, {"0": 0.75, "2": 0.125})["default"] == ["0"]


def test_a_plain_answer_is_the_prediction_of_the_only_row() -> None:
    for answer in (b'"1"', b"1", b"1\n"):
        assert columns({"age": 31}, answer)["default"] == ["1"]


def test_bytes_of_tensorflow_are_read_from_base64() -> None:
    monitor = monitor_of([{"name": "size", "type": "numeric", "from": "image", "as": "bytes"}])
    encoded = {"b64": base64.b64encode(b"\xff\xfe\xfd").decode()}
    for request in ({"instances": [{"image": encoded}]}, {"inputs": {"image": [encoded]}}):
        assert columns(request, monitor=monitor) == {"size": [3.0]}
    with pytest.raises(DecodeError, match=r"b64 is '[?]', which is not base64"):
        columns({"instances": [{"image": {"b64": "?"}}]}, monitor=monitor)
    with pytest.raises(DecodeError, match="no comma before its data"):  # cut: no bytes at all would be another image
        columns({"instances": [{"image": {"b64": "data:image/png;base64"}}]}, monitor=monitor)


def test_a_csv_knows_its_names_by_its_content_type() -> None:
    request = payload(b"31,5,Paris\n", content_type="text/csv; header=absent")
    assert columns(request) == {"age": [31.0], "income": [5.0], "city": ["Paris"]}
    quoted = payload(b'city,age,income\n"Paris, ""France""",31,\n', content_type="text/csv; header=present")
    assert columns(quoted) == {"age": [31.0], "income": [None], "city": ['Paris, "France"']}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"age,income\n1,2\n3\n", reasons.SHAPE_MISMATCH),
        (b'age,city\n1,"open\n', reasons.MALFORMED),
        (b"age,age\n1,2\n", reasons.SHAPE_MISMATCH),
        (b"age,city\nold,Rome\n", reasons.WRONG_TYPE),
        (b"\xff,1\n", reasons.MALFORMED),
        ({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, reasons.SHAPE_MISMATCH),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, reasons.SHAPE_MISMATCH),
        ({"dataframe_split": {"data": [[1]]}}, reasons.MALFORMED),
        ({"dataframe_split": [1]}, reasons.MALFORMED),
        ({"data": {"names": ["age"], "ndarray": [[1, 2]]}}, reasons.SHAPE_MISMATCH),
        ({"data": {"names": ["age", "age"], "ndarray": [[1, 2]]}}, reasons.SHAPE_MISMATCH),
        ({"data": {"names": "age", "ndarray": [[1]]}}, reasons.MALFORMED),
        ({"data": {"tensor": {"shape": [2], "values": [1]}}}, reasons.SHAPE_MISMATCH),
        ({"data": {"tensor": {"shape": ["2"], "values": [1]}}}, reasons.MALFORMED),
        ({"data": {"tftensor": {}}}, reasons.UNSUPPORTED_FORMAT),
        ({"binData": "?"}, reasons.MALFORMED),
        ({"strData": 5}, reasons.MALFORMED),
        ({"instances": [{"features": 5}]}, reasons.NO_COLUMNS),
        (b"31", reasons.NO_COLUMNS),
        (b"where is my order?", reasons.NO_COLUMNS),
        (b"\x00\x01\x02binary", reasons.UNSUPPORTED_FORMAT),
    ],
)
def test_a_table_that_does_not_add_up_is_refused(content: Any, reason: str) -> None:
    request = payload(content, content_type="text/csv") if isinstance(content, bytes) and b"," in content else content
    with pytest.raises(DecodeError) as found:
        columns(request)
    assert found.value.reason == reason, found.value.detail


def test_a_name_that_stands_twice_is_told() -> None:
    with pytest.raises(DecodeError, match="the first line names 'city' several times"):
        columns(payload(b"age,city,city\n1,Rome,Paris\n", content_type="text/csv"))


def test_a_sentence_with_commas_is_no_table() -> None:
    two = monitor_of([{"name": "a", "type": "categorical"}, {"name": "b", "type": "categorical"}])
    with pytest.raises(DecodeError):
        columns(b"Hello, world", monitor=two)


def test_a_frame_written_by_pandas_comes_back_whatever_it_holds() -> None:
    text = io.StringIO()
    frame = pd.DataFrame({"city": ['a "b"', "c,d", "e\nf", None], "age": [1, 2, 3, 4], "income": [0.1, -1e300, 5, 6]})
    frame.to_csv(text, index=False)
    found = columns(payload(text.getvalue().encode(), content_type="text/csv"))
    assert found == {
        "age": [1.0, 2.0, 3.0, 4.0],
        "income": [0.1, -1e300, 5.0, 6.0],
        "city": ['a "b"', "c,d", "e\nf", None],
    }
