"""Labels as a stream of lines, and Seldon's feedback."""

import asyncio
import codecs
import gzip
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from collector.labels.desk import LabelReceipt
from collector.labels.from_lines import LONGEST_LINE, LineCutter, LineProgress, take_lines
from collector.labels.from_seldon import read_feedback
from collector.store.store import Store
from driftline.errors import EventError, UnavailableError
from driftline.events import Label
from tests.collector.helpers import Parts, drain, event, label, records
from tests.collector.test_api import FixedHealth, make_app

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def client(parts: Parts) -> TestClient:
    drain(parts.collector(records([event(number) for number in range(3)])))
    return TestClient(make_app(parts, parts.store, FixedHealth()))


# --- lines ----------------------------------------------------------------------------------------------------------
@given(st.lists(st.binary(max_size=9), max_size=9), st.data())
def test_lines_are_those_of_the_whole_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    cutter = LineCutter()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += cutter.cut(whole[start:end])
    found += cutter.cut(b"", last=True)
    assert found == list(enumerate(whole.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1))


def test_a_line_without_end_is_not_kept_and_the_next_one_is_read() -> None:
    cutter = LineCutter()
    for _ in range(50):
        assert cutter.cut(b"x" * 4096) == []
        assert len(cutter._left) <= LONGEST_LINE
    assert cutter.cut(b"x\nok\n") == [(1, None), (2, b"ok")]


def test_a_stream_far_beyond_the_bound_of_a_body_is_taken(client: TestClient) -> None:
    lines = [msgspec.json.encode(label(number % 3, 1)) for number in range(12_000)]
    body = b"\n".join(lines)
    assert len(body) > 50 * 20_000
    answer = client.post("/v1/labels", content=body, headers=NDJSON)
    assert answer.status_code == 200
    assert answer.json() == {
        "received": 12_000,
        "refused": 0,
        "outcomes": {"joined": 3, "duplicate": 11_997},
        "faults": [],
    }


@pytest.mark.parametrize("headers", [NDJSON, {"content-type": "application/json"}], ids=["lines", "whole"])
def test_a_byte_order_mark_costs_no_label(client: TestClient, headers: dict[str, str]) -> None:
    body = codecs.BOM_UTF8 + msgspec.json.encode(label(0, 1))
    assert client.post("/v1/labels", content=body, headers=headers).json()["outcomes"] == {"joined": 1}


def test_compressed_labels_are_refused_as_such(client: TestClient) -> None:
    body = gzip.compress(msgspec.json.encode(label(0, 1)))
    answer = client.post("/v1/labels", content=body, headers={**NDJSON, "content-encoding": "gzip"})
    assert answer.status_code == 415
    assert "Content-Encoding gzip" in answer.json()["detail"]


def test_a_client_that_asks_is_told_how_far_its_stream_is_with_the_lines_that_are_wrong(client: TestClient) -> None:
    lines = [msgspec.json.encode(label(number % 3, 1)) for number in range(7_000)]
    lines[5_500] = b'{"request_id": 7}'
    body = b"\n" + b"\n".join(lines)
    answer = client.post("/v1/labels", content=body, headers={**NDJSON, "accept": "application/x-ndjson"})
    told = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert [line["line"] for line in told] == [5_000, 7_001, 7_001]
    assert [line["done"] for line in told] == [False, False, True]
    assert [fault["line"] for line in told for fault in line["faults"]] == [5_502]
    assert told[-1]["outcomes"] == {"joined": 3, "duplicate": 6_996, "invalid": 1}


def test_memory_does_not_grow_with_the_stream() -> None:
    def submit(labels: Any, unreadable: int = 0) -> LabelReceipt:
        return LabelReceipt(len(labels), {"joined": len(labels)})

    async def chunks(lines: int) -> AsyncIterator[bytes]:
        line = msgspec.json.encode(label(1, 1)) + b"\n"
        for _ in range(lines // 100):
            yield line * 100

    async def peak_bytes(lines: int) -> int:
        tracemalloc.start()
        async for progress in take_lines(chunks(lines), submit):
            assert progress.line <= lines + 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert asyncio.run(peak_bytes(60_000)) < 1.3 * asyncio.run(peak_bytes(15_000))


def test_what_was_taken_before_the_store_went_away_is_told(parts: Parts) -> None:
    taken: list[int] = []

    def submit(labels: Any, unreadable: int = 0) -> LabelReceipt:
        if taken:
            raise UnavailableError("database", "away")
        taken.append(len(labels))
        return LabelReceipt(len(labels), {"joined": len(labels)})

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(9_000):
            yield msgspec.json.encode(label(number, 1)) + b"\n"

    found: list[LineProgress] = []

    async def read() -> None:
        async for progress in take_lines(chunks(), submit):
            found.append(progress)  # noqa: PERF401 - what was told before it broke off is what is looked for

    with pytest.raises(UnavailableError):
        asyncio.run(read())
    (progress,) = found
    assert (progress.line, progress.received, progress.outcomes) == (5_000, 5_000, {"joined": 5_000})


def test_a_stream_that_finds_no_store_is_answered_503_with_the_lines_that_are_stored(parts: Parts, url: str) -> None:
    class AwayStore(Store):
        def transaction(self) -> Any:
            raise UnavailableError("database", "away")

    client = TestClient(make_app(parts, AwayStore(url, prepare=False), FixedHealth()))
    answer = client.post("/v1/labels", content=msgspec.json.encode(label(1, 1)), headers=NDJSON)
    assert (answer.status_code, answer.json()["taken_lines"], answer.headers["retry-after"]) == (503, 0, "5")


# --- Seldon ---------------------------------------------------------------------------------------------------------
def test_truth_per_row_is_joined_by_the_puid(client: TestClient, parts: Parts) -> None:
    body = {"truth": {"data": {"ndarray": [[1]]}}, "reward": 0}
    url = "/seldon/default/flights/api/v1.0/feedback"
    answer = client.post(url, json=body, headers={"Seldon-Puid": "request-1"})
    assert answer.json()["meta"] == {"puid": "request-1", "tags": {"outcomes": {"joined": 1}, "faults": []}}
    assert parts.judged() == {"correct": 1}


def test_a_reward_of_zero_is_a_reward(client: TestClient, parts: Parts) -> None:
    address = "/api/v1.0/feedback?model=flights"
    for number, reward in ((0, 0), (1, 1.0), (2, 0)):
        body = {"reward": reward, "response": {"meta": {"puid": f"request-{number}"}}}
        assert client.post(address, json=body).json()["status"]["status"] == "SUCCESS"
    assert parts.judged() == {"incorrect": 2, "correct": 1}


def test_feedback_without_a_model_among_several_is_refused_by_name(client: TestClient) -> None:
    answer = client.post("/api/v1.0/feedback", json={"reward": 1}, headers={"Seldon-Puid": "request-1"})
    assert (answer.status_code, answer.json()["status"]["status"]) == (400, "FAILURE")
    assert "model is missing" in answer.json()["status"]["info"]


def test_a_reward_of_a_regression_needs_a_word_of_its_monitor(client: TestClient) -> None:
    address = "/api/v1.0/feedback?model=delay"
    answer = client.post(address, json={"reward": 1}, headers={"Seldon-Puid": "request-1"})
    assert answer.status_code == 400
    assert "labels.reward" in answer.json()["status"]["info"]


def rows(body: str) -> list[tuple[int, Any, bool]]:
    found: list[Label] = list(read_feedback(body.encode(), "default", "flights", "r1", 1.0))
    return [(one.row, one.value, one.reward) for one in found]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"reward": 0}', [(0, 0, True)]),
        ('{"reward": [1, 0, 0.5]}', [(0, 1, True), (1, 0, True), (2, 0.5, True)]),
        ('{"truth": {"data": {"tensor": {"shape": [2, 1], "values": [1, 0]}}}}', [(0, 1, False), (1, 0, False)]),
        (
            '{"truth": {"data": {"names": ["a", "b"], "tensor": {"shape": [2, 2], "values": [1, 0, 0.1, 0.9]}}}}',
            [(0, "a", False), (1, "b", False)],
        ),
        ('{"truth": {"data": {"names": ["a", "b"], "ndarray": [[0, 1]]}}}', [(0, "b", False)]),
        ('{"truth": {"strData": "late"}}', [(0, "late", False)]),
        ('{"truth": {"jsonData": ["a", "b"]}}', [(0, "a", False), (1, "b", False)]),
        ('{"truth": {"data": {"ndarray": []}}, "reward": 0}', [(0, 0, True)]),
    ],
)
def test_truth_and_rewards_are_read_by_row(body: str, expected: list[tuple[int, Any, bool]]) -> None:
    assert rows(body) == expected


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[1]", "not a JSON object"),
        ("{}", "neither a truth nor a reward"),
        ('{"reward": true}', "reward 'True' is not a number"),
        ('{"reward": [1, "x"]}', "reward 'x' is not a number"),
        ('{"reward": 1, "response": {"data": {"ndarray": [[1], [2]]}}}', "one for 2 rows"),
        ('{"truth": {"data": {"ndarray": [[1, 2]]}}}', "truth row 0"),
        ('{"truth": {"data": {"tensor": {"shape": [2, 2], "values": [1, 2, 3]}}}}', "3 values, its shape"),
        ('{"truth": {"data": {"tensor": {"shape": [1]}}}}', "no values"),
    ],
)
def test_feedback_that_says_nothing_is_refused_by_what_is_wrong(body: str, told: str) -> None:
    with pytest.raises(EventError, match=told.replace("'", ".")):
        rows(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["data", "ndarray", "tensor", "shape", "values", "names", "strData", "jsonData", "meta", "puid"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["truth", "reward", "response"]),
)
def test_feedback_of_any_shape_is_read_or_refused(part: Any, where: str) -> None:
    body = msgspec.json.encode({where: part, "reward" if where == "response" else "x": 0})
    try:
        found = read_feedback(body, "default", "flights", "r1", 1.0)
    except EventError:
        return
    assert [one.row for one in found] == list(range(len(found)))
    assert all(one.reward or isinstance(one.value, str | int | float | bool) for one in found)
