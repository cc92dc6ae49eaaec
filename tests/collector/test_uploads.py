"""Files of labels: received within bounds, joined in the background, gone on with after a restart."""

import contextlib
import csv
import gzip
import io
import threading
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from collector.api.form_file import FormFile
from collector.labels.from_files import FileRow, read_batches
from collector.labels.from_json import UploadError
from collector.labels.uploads import UploadDesk, UploadWorker
from collector.store.uploads import ColumnNames, FileFault
from driftline import names
from driftline.errors import TransientError
from tests.collector.helpers import START_S, Parts, drain, event, records
from tests.collector.test_api import FixedHealth, make_app

NEVER = threading.Event()


@pytest.fixture
def client(parts: Parts) -> TestClient:
    drain(parts.collector(records([event(number) for number in range(40)])))
    return TestClient(make_app(parts, parts.store, FixedHealth()))


def desk_of(parts: Parts) -> UploadDesk:
    return UploadDesk(parts.store, parts.directory / "uploads", parts.clock, 2)


def worker(parts: Parts, statistics: Any = None) -> UploadWorker:
    labels = parts.desk(statistics)
    return UploadWorker(parts.store, labels, desk_of(parts), parts.clock)


def frame(numbers: range | list[int]) -> pd.DataFrame:
    return pd.DataFrame({"request_id": [f"request-{number}" for number in numbers], "value": 1, "model": "flights"})


def parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


def outcomes(parts: Parts) -> dict[str, int]:
    totals = parts.store.totals().items()
    return {key.labels[2]: value for key, value in totals if key.metric == names.LABELS.name}


def test_a_csv_is_kept_then_joined_then_gone(client: TestClient, parts: Parts) -> None:
    text = frame(range(50)).to_csv(index=False)
    answer = client.post("/v1/labels/upload", files={"file": ("labels.csv", text)})
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert (answer.json()["state"], answer.json()["name"]) == ("waiting", "labels.csv")
    assert worker(parts).run_once(NEVER)
    found = client.get(place).json()
    assert (found["state"], found["rows_read"], found["joined"], found["pending"]) == ("done", 50, 40, 10)
    assert found["bytes_read"] == found["size_bytes"] == len(text)
    assert outcomes(parts) == {"joined": 40, "pending": 10}
    assert not worker(parts).run_once(NEVER)
    assert list((parts.directory / "uploads").iterdir()) == []
    assert [upload["id"] for upload in client.get("/v1/uploads").json()] == [found["id"]]


def test_a_parquet_sent_as_the_body_itself_says_the_same(client: TestClient, parts: Parts) -> None:
    content = parquet(frame(range(50)).assign(observed_at_s=pd.Timestamp("2084-01-30T18:00:00")))
    headers = {"content-type": "application/vnd.apache.parquet"}
    place = client.post("/v1/labels/upload", content=content, headers=headers).headers["location"]
    assert client.get(place).json()["rows_total"] == 50
    worker(parts).run_once(NEVER)
    assert client.get(place).json()["outcomes"] == {"joined": 40, "pending": 10}


def test_columns_of_any_name_are_mapped(client: TestClient, parts: Parts) -> None:
    table = pd.DataFrame({"id": ["request-1"], "truth": ["true"], "when": ["2084-01-30T18:00:00+01:00"], "n": [0]})
    mapping = {"request_id_column": "id", "label_column": "truth", "time_column": "when", "row_column": "n"}
    files = {"file": ("labels.csv", table.to_csv(index=False))}
    place = client.post("/v1/labels/upload", params={**mapping, "model": "flights"}, files=files).headers["location"]
    worker(parts).run_once(NEVER)
    assert client.get(place).json()["outcomes"] == {"joined": 1}
    samples = parts.store.samples(parts.store.streams()[0].stream, 0, 1e12, 99)
    assert {sample.request_id: sample.label for sample in samples if sample.label} == {"request-1": "1"}


def test_wrong_rows_are_told_by_line_column_and_value_and_the_others_join(client: TestClient, parts: Parts) -> None:
    text = (
        "request_id,value,model,row,observed_at_s\n"
        "request-1,1,flights,x,1\n"
        '"request-2",1,flights,0,\n'
        "request-3,1,nobody,0,\n"
        "\n"
        "request-4,1,flights,0,soon\n"
        "request-5,1,flights\n"
        "request-6,1,flights,-1,\n"
    )
    place = client.post("/v1/labels/upload", files={"file": ("f.csv", text)}).headers["location"]
    worker(parts).run_once(NEVER)
    found = client.get(place).json()
    assert (found["joined"], found["refused"], found["rows_read"]) == (1, 5, 6)
    told = {fault["line"]: (fault["column"], fault["value"]) for fault in found["faults"]}
    assert told == {
        2: ("row", "x"),
        4: ("model", "nobody"),
        6: ("observed_at_s", "soon"),
        7: ("", ""),
        8: ("row", "-1"),
    }


@pytest.mark.parametrize(
    ("column", "value", "read"),
    [
        ("value", Decimal("3.25"), 3.25),
        ("value", Decimal(2**60 + 1), 2**60 + 1),
        ("value", 2**53 + 1, 2**53 + 1),
        ("observed_at_s", date(2084, 1, 30), 3600028800.0),
        ("observed_at_s", datetime(2084, 1, 30, 5, 30, tzinfo=timezone(timedelta(hours=5.5))), 3600028800.0),
        ("request_id", 7.0, "7"),
        ("request_id", b"request-1", "request-1"),
        ("row", 3.0, 3),
    ],
)
def test_what_parquet_holds_is_read_as_what_it_means(tmp_path: Path, column: str, value: object, read: object) -> None:
    frame([1]).astype(object).assign(**{column: [value]}).to_parquet(tmp_path / "f.parquet")
    (row,) = next(read_batches(tmp_path / "f.parquet", ColumnNames(), 0.0, 0, 10)).rows
    assert row.label is not None
    assert getattr(row.label, column) == read


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("row", [1], "is not a whole number"),
        ("row", 0.5, "is not a whole number"),
        ("observed_at_s", [1], "is no time"),
        ("value", {"a": 1}, "is neither a number nor a text nor a truth value"),
        ("request_id", ["request-1"], "is neither a text nor a number"),
        ("request_id", b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_parquet_holds_and_no_label_can_is_told_with_column_and_value(
    tmp_path: Path, column: str, value: object, fault: str
) -> None:
    frame([1]).astype(object).assign(**{column: [value]}).to_parquet(tmp_path / "f.parquet")
    (row,) = next(read_batches(tmp_path / "f.parquet", ColumnNames(), 0.0, 0, 10)).rows
    assert row.fault == FileFault(1, column, str(value), fault)


def test_a_row_that_names_no_prediction_says_which_columns_would(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("order,value,model\n,1,flights\n")
    (row,) = next(read_batches(tmp_path / "f.csv", ColumnNames(key="order"), 0.0, 0, 10)).rows
    assert row.fault == FileFault(2, "", "", "there is neither a value of 'request_id' nor one of 'order'")


@pytest.mark.parametrize("body", [b"a,b\n1,2\n", b"PAR1nothing", b"\xff\xfe\x00", b"", b'"a'])
def test_a_file_that_holds_no_labels_is_answered_400_and_not_kept(
    client: TestClient, parts: Parts, body: bytes
) -> None:
    assert client.post("/v1/labels/upload", files={"file": ("f", body)}).status_code == 400
    assert list((parts.directory / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b"request_id;value;model\n",
            "its first line is 'request_id;value;model', separated by semicolons; commas are",
        ),
        (b"\xef\xbb\xbfrequest_id\tvalue\n", "separated by tabs"),
        (b"request_id,value,value,model\n", "the column 'value' stands 2 times"),
        (gzip.compress(b"request_id,value,model\n"), "compressed by gzip"),
    ],
)
def test_a_file_of_another_form_is_refused_by_what_it_is(client: TestClient, body: bytes, told: str) -> None:
    answer = client.post("/v1/labels/upload", content=body)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]


def test_a_column_that_is_not_asked_for_may_stand_twice(client: TestClient, parts: Parts) -> None:
    place = client.post("/v1/labels/upload", content="request_id,x,value,model,x\nrequest-1,a,1,flights,b\n").headers
    worker(parts).run_once(NEVER)
    assert client.get(place["location"]).json()["joined"] == 1


@pytest.mark.parametrize("form", [True, False])
def test_a_file_beyond_the_bound_is_answered_413_and_not_kept(client: TestClient, parts: Parts, form: bool) -> None:
    content = b"request_id,value,model\n" + b"x" * 20_001
    sent = {"files": {"file": ("a.csv", content)}} if form else {"content": content}
    assert client.post("/v1/labels/upload", **sent).status_code == 413
    assert list((parts.directory / "uploads").iterdir()) == []


def test_as_many_files_wait_as_may(client: TestClient) -> None:
    text = frame([1]).to_csv(index=False)
    statuses = [client.post("/v1/labels/upload", content=text) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [202, 202, 429]


def test_a_file_that_breaks_in_the_middle_says_where_and_keeps_the_rest(client: TestClient, parts: Parts) -> None:
    content = frame(range(600)).to_csv(index=False).encode() + b"\xff,1,flights\n"
    place = client.post("/v1/labels/upload", content=content).headers["location"]
    worker(parts).run_once(NEVER)
    found = client.get(place).json()
    assert (found["state"], found["joined"]) == ("failed", 40)
    assert found["error"].startswith(f"line {found['rows_read'] + 2}")


@given(st.binary(max_size=400), st.lists(st.integers(0, 900), max_size=6))
def test_a_form_gives_its_file_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    request = httpx.Request("POST", "http://x/", files={"a": (None, "text"), "file": ("näme.csv", content)})
    body = request.read()
    file = io.BytesIO()
    form = FormFile(request.headers["content-type"], file)
    places = sorted(min(cut, len(body)) for cut in cuts)
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        form.write(body[start:end])
    form.close()
    assert (form.name, file.getvalue()) == ("näme.csv", content)


@pytest.mark.parametrize("cut", [0, 40, -60, -1_000])
def test_a_form_that_ends_early_or_has_no_file_is_refused(cut: int) -> None:
    sent = (
        {"files": {"file": ("f.csv", b"x" * 100)}}
        if cut != -1_000
        else {"data": {"a": "b"}, "files": {"c": (None, "d")}}
    )
    request = httpx.Request("POST", "http://x/", **sent)
    body = request.read()
    form = FormFile(request.headers["content-type"], io.BytesIO())
    form.write(body[:cut] if cut != -1_000 else body)
    with pytest.raises(UploadError, match="form"):
        form.close()


class Crashing:
    """Statistics that end the process, as it were, at the given call."""

    def __init__(self, inner: Any, at: int) -> None:
        self._inner, self._left = inner, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def judge_many(self, *arguments: Any) -> list[bytes]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return list(self._inner.judge_many(*arguments))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_restart_goes_on_where_it_was_and_no_row_counts_twice(parts: Parts, kind: str) -> None:
    drain(parts.collector(records([event(number, at_s=START_S + number) for number in range(40)])))
    table = frame(range(40))
    content = parquet(table) if kind == "parquet" else table.to_csv(index=False).encode()
    desk = desk_of(parts)
    upload_id, path = desk.new_path()
    path.write_bytes(content)
    desk.receive(upload_id, "labels", ColumnNames())
    restarts = 0
    for _ in range(30):
        try:
            worker_of_seven(parts, Crashing(parts.statistics, 2)).run_once(NEVER)
        except KeyboardInterrupt:
            restarts += 1
        else:
            break
    found = desk.find(upload_id)
    assert found is not None
    assert (found.state, found.rows_read, found.outcomes) == ("done", 40, {"joined": 40})
    assert restarts > 1
    assert outcomes(parts) == {"joined": 40}
    assert parts.store.streams()[0].labelled_rows == 40


def worker_of_seven(parts: Parts, statistics: Any) -> UploadWorker:
    labels = parts.desk(statistics)
    return UploadWorker(parts.store, labels, desk_of(parts), parts.clock, batch_rows=7)


def test_two_collectors_that_join_one_file_count_every_row_once(client: TestClient, parts: Parts) -> None:
    place = client.post("/v1/labels/upload", content=frame(range(40)).to_csv(index=False)).headers["location"]
    first, second = (worker_of_seven(parts, parts.statistics) for _ in range(2))

    def join(one: UploadWorker) -> None:
        with contextlib.suppress(TransientError):  # the other was faster
            one.run_once(NEVER)

    threads = [threading.Thread(target=join, args=(one,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker(parts).run_once(NEVER)
    assert client.get(place).json()["state"] == "done"
    assert outcomes(parts) == {"joined": 40}


def test_a_cancelled_upload_is_joined_no_further(client: TestClient, parts: Parts) -> None:
    place = client.post("/v1/labels/upload", content=frame(range(40)).to_csv(index=False)).headers["location"]
    assert client.delete(place).json()["state"] == "cancelled"
    assert not worker(parts).run_once(NEVER)
    assert outcomes(parts) == {}
    assert client.delete("/v1/uploads/none").status_code == client.get("/v1/uploads/none").status_code == 404


def test_files_that_nobody_will_join_are_dropped_at_the_start(client: TestClient, parts: Parts) -> None:
    place = client.post("/v1/labels/upload", content=frame([1]).to_csv(index=False)).headers["location"]
    kept = desk_of(parts).path(place.rpartition("/")[2])
    content = kept.read_bytes()
    client.delete(place)
    kept.write_bytes(content)  # as a collector that ended at this moment would leave it
    desk_of(parts).tidy()
    assert not kept.exists()


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(cells, cells, cells, cells), max_size=12), st.integers(1, 5), st.integers(0, 3))
def test_csv_rows_are_those_of_the_csv_module_whatever_they_hold(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, ...]], size: int, skip: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([("request_id", "value", "model", "row"), *found])
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    try:
        rows: list[FileRow] = [
            row for batch in read_batches(path, ColumnNames(), 5.0, skip, size) for row in batch.rows
        ]
    except UploadError:  # a carriage return alone, say, which the strict reader refuses
        return
    expected = [values for values in csv.reader(io.StringIO(text.getvalue())) if values][1 + skip :]
    assert len(rows) == len(expected)
    for row, values in zip(rows, expected, strict=True):
        if row.label is not None:
            assert (row.label.request_id, row.label.model) == (values[0], values[2])
        else:
            assert row.fault is not None
            assert row.fault.column in (("row",) if values[0] else ("row", ""))
