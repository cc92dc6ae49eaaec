"""Vectors of payloads as they come: tensors, lists in JSON, embeddings of OpenAI, floats or base64."""

import base64
from typing import Any

import numpy as np
import pytest

from driftline.columns import ColumnBatch
from driftline.errors import DecodeError
from driftline.monitors import Monitor
from serving.decode_many import decode_many
from tests.parts.decoding import decode
from tests.serving.codecs.reading_examples import monitor_of
from tests.serving.payload_examples import event, tensor

NAN = [np.nan, np.nan]


def watching(source: str | None = None, columns: list[dict[str, Any]] | None = None) -> Monitor:
    vector: dict[str, Any] = {"name": "e", "dimension": 2}
    if source is not None:
        vector["from"] = source
    return monitor_of(columns or [{"name": "x", "type": "numeric"}], vectors=[vector])


def read(request: Any, response: Any, monitor: Monitor) -> ColumnBatch:
    return decode(event(request, response), monitor)


def answers(rows: int) -> dict[str, Any]:
    return {"model_name": "m", "outputs": [tensor("prediction", ["a"] * rows, "BYTES")]}


def test_a_tensor_of_rows_by_numbers_beside_other_tensors() -> None:
    request = {"inputs": [tensor("x", [1, 2]), tensor("e", [1, 2, 3, 4], "FP32", [2, 2])]}
    found = read(request, answers(2), watching())
    assert found.vectors["e"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.numeric["x"].tolist() == [1.0, 2.0]


def test_lists_in_rows_of_json_with_missing_and_others_lengths() -> None:
    rows = [{"x": 1, "e": [0.5, 1.5]}, {"x": 2}, {"x": 3, "e": [1, 2, 3]}, {"x": 4, "e": None}]
    found = read({"instances": rows}, {"predictions": ["a"] * 4}, watching())
    assert np.array_equal(found.vectors["e"], [[0.5, 1.5], NAN, NAN, NAN], equal_nan=True)


def test_a_tensor_of_another_width_is_missing_and_the_row_stays() -> None:
    request = {"inputs": [tensor("x", [1, 2]), tensor("e", [1, 2, 3, 4, 5, 6], "FP32", [2, 3])]}
    found = read(request, answers(2), watching())
    assert np.isnan(found.vectors["e"]).all()
    assert found.numeric["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("coded", [False, True])
def test_openais_embeddings_from_the_answer(coded: bool) -> None:
    vectors = [[0.25, -1.0], [2.0, 3.0]]
    spelt = [base64.b64encode(np.array(each, "<f4").tobytes()).decode() if coded else each for each in vectors]
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(spelt)]
    monitor = watching("response.embedding", [{"name": "length", "type": "numeric", "from": "prompt", "as": "words"}])
    request = {"model": "m", "input": ["one", "two words"]}
    found = read(request, {"object": "list", "data": data, "model": "m"}, monitor)
    assert found.vectors["e"].tolist() == vectors
    assert found.numeric["length"].tolist() == [1.0, 2.0]


def test_a_place_in_a_document() -> None:
    request = {"x": 1, "user": {"taste": [1.0, 2.0]}}
    assert read(request, {"prediction": "a"}, watching("user.taste")).vectors["e"].tolist() == [[1.0, 2.0]]


def test_many_events_at_once_are_what_each_is_alone() -> None:
    monitor = watching()
    requests = [
        {"inputs": [tensor("x", [1]), tensor("e", [1, 2], "FP32", [1, 2])]},
        {"inputs": [tensor("x", [2])]},
        {"inputs": [tensor("x", [3, 4]), tensor("e", [3, 4, 5, 6], "FP32", [2, 2])]},
    ]
    events = [event(request, answers(rows)) for request, rows in zip(requests, (1, 1, 2), strict=True)]
    found = decode_many(events, monitor)
    assert not found.faults
    assert np.array_equal(found.columns.vectors["e"], [[1, 2], NAN, [3, 4], [5, 6]], equal_nan=True)
    taken = found.columns.take(np.array([True, False, False, True]))
    assert taken.vectors["e"].tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert "e" in taken.names()


@pytest.mark.parametrize("value", ["words", {"a": 1}, [["a"], "b"]])
def test_what_is_no_vector_is_refused_by_name(value: Any) -> None:
    with pytest.raises(DecodeError, match="column 'e'"):
        read({"instances": [{"x": 1, "e": value}]}, {"predictions": ["a"]}, watching())
