"""Files of logged records: every format, each read once, in a directory that grows and in an object store."""

import base64
import csv
import gzip
import io
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from obstore.store import from_url

from collector.labels.from_seldon import read_feedback
from collector.sources.file_places import Directory
from collector.sources.files import DONE, LANE, FilesSource, open_place
from collector.sources.interpreting import Interpreter
from collector.sources.logged_records import read_file
from driftline.errors import EventError, SettingsError, TransientError, UnavailableError
from driftline.halves import Half
from driftline.records import Malformed
from tests.collector.helpers import MONITORS, Parts, drain, event, tables
from tests.collector.sources.messages import ANSWER, MODELMESH_REQUEST, REQUEST, kserve
from tests.collector.sources.parts import outcomes, pairing_collector
from tests.parts.azurite import azurite_server
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports
from tests.parts.stores import gcs_server

INTERPRETER = Interpreter(MONITORS, read_feedback)
NOW_NS = 1_700_000_000_000_000_000
COLUMNS = (
    "url",
    "bytes",
    "contentType",
    "reqType",
    "id",
    "sourceUri",
    "inferenceService",
    "namespace",
    "component",
    "endpoint",
    "metadata",
    "annotations",
    "certName",
    "tlsSkipVerify",
)


def record(kind: str, number: int = 1, body: bytes = REQUEST, **changes: Any) -> dict[str, Any]:
    """One of KServe's records, as its JSON marshaller writes it."""
    return {
        "url": {"Scheme": "s3", "Host": "bucket", "Path": "/logs"},
        "bytes": base64.b64encode(body).decode(),
        "contentType": "application/json",
        "reqType": f"org.kubeflow.serving.inference.{kind}",
        "id": f"id-{number}",
        "sourceUri": {"Scheme": "http", "Host": "localhost:9081", "Path": "/"},
        "inferenceService": "flights",
        "namespace": "default",
        "component": "predictor",
        "endpoint": "",
        "metadata": {"X-Tenant": ["a"]},
        "annotations": None,
        "certName": "",
        "tlsSkipVerify": False,
        "occurrenceTime": "2026-11-21T10:00:00Z",
        **changes,
    }


def row(kind: str, number: int = 1, body: bytes = REQUEST) -> dict[str, Any]:
    """The same as a row of CSV or Parquet: texts, and no time."""
    found = record(kind, number, body)
    flat = {"url": "s3://bucket/logs", "sourceUri": "http://localhost:9081/", "annotations": ""}
    return {name: {**found, **flat, "metadata": '{"X-Tenant":["a"]}'}[name] for name in COLUMNS}


def as_json(*kinds: str) -> bytes:
    listed = [record(kind) for kind in kinds]
    return json.dumps(listed if len(listed) > 1 else listed[0]).encode()


def as_csv(*kinds: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(row(kind) for kind in kinds)
    return text.getvalue().encode()


def as_parquet(*kinds: str) -> bytes:
    return bytes(pd.DataFrame([row(kind) for kind in kinds]).to_parquet())


def events(name: str, data: bytes) -> list[Any]:
    return [item if isinstance(item, tuple) else INTERPRETER.read(item) for item in read_file(name, data, NOW_NS)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where files appear, and nothing else."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("make", [as_json, as_csv, as_parquet])
def test_every_format_of_kserve_holds_the_same_halves(make: Callable[..., bytes], packed: bool) -> None:
    ending = {as_json: "json", as_csv: "csv", as_parquet: "parquet"}[make]
    data = make("request", "response")
    found = events(f"id-1-request.{ending}" + (".gz" if packed else ""), gzip.compress(data) if packed else data)
    assert [half.kind for half in found] == ["request", "response"]
    assert found[0].pair == found[1].pair
    assert (found[0].model, found[0].source, found[0].metadata) == (
        "flights",
        "http://localhost:9081/",
        {"x-tenant": "a"},
    )
    assert found[0].payload.body == REQUEST
    assert found[0].time_ns == (1795255200 * 10**9 if make is as_json else NOW_NS)


def test_other_records_of_json_are_recognised_and_lines_are_documents() -> None:
    envelope: dict[str, Any] = {name[3:]: value for name, value in kserve("response") if name[:3] == "ce-"} | {
        "data": json.loads(ANSWER)
    }
    lines = [json.dumps(record("request")).encode(), MODELMESH_REQUEST, json.dumps(envelope).encode(), b"{}", b"oops"]
    found = events("log.ndjson", b"\n".join(lines))
    assert [type(item).__name__ for item in found] == ["Half", "Half", "Half", "tuple", "tuple"]
    assert "its fields are" in found[3][0]
    assert events("empty.json", b"  ") == []


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("a.json", b"\x00\x01", "neither JSON, CSV nor Parquet"),
        ("a.json", b"\x1f\x8b\x00", "broken gzip"),
        ("a.parquet", b"PAR1" + b"\0" * 20, "broken Parquet"),
        ("a.csv", b"\xff\xfe,\n1", "not UTF-8"),
        ("a.csv", b"id,reqType,id,,\n1,request,2,,\n", "its first line names 'id' several times"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name: str, data: bytes, fault: str) -> None:
    with pytest.raises(EventError, match=fault):
        list(read_file(name, data, NOW_NS))


def write(directory: Path, number: int, kind: str) -> None:
    whole = event(number)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole.time_s))
    body = whole.request.body if kind == "request" else whole.response.body
    path = directory / "default" / "flights" / f"id-{number}-{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record(kind, number, body, occurrenceTime=at)))
    os.utime(path, (1_700_000_000, 1_700_000_000))


def source_of(parts: Parts, directory: Path) -> FilesSource:
    return FilesSource(Directory(directory, 1.0), parts.store.position, INTERPRETER)


def test_a_directory_that_grows_is_read_once_and_counted_in_one_lane(parts: Parts, url: str, logs: Path) -> None:
    for number in range(6):
        write(logs, number, "request")
    for number in range(4):
        write(logs, number, "response")
    assert drain(pairing_collector(parts, source_of(parts, logs))) == 10
    for number in range(4, 6):
        write(logs, number, "response")
    assert drain(pairing_collector(parts, source_of(parts, logs))) == 2
    assert drain(pairing_collector(parts, source_of(parts, logs))) == 0
    assert outcomes(parts.store) == {"received": 12, "paired": 12}
    found = tables(url)
    assert len(found["predictions"]) == 6
    assert {dict(one)["partition"] for one in found["window_states"]} == {LANE}


def test_a_file_is_gone_on_with_where_it_was_left(parts: Parts, logs: Path) -> None:
    (logs / "many.json").write_text(json.dumps([record("request", number) for number in range(5)]))
    os.utime(logs / "many.json", (1, 1))
    first = source_of(parts, logs).poll(3, 0)
    assert [(one.offset, one.next_offset, one.lane) for one in first] == [(0, 1, LANE), (1, 2, LANE), (2, 3, LANE)]
    again = FilesSource(Directory(logs, 1.0), lambda _: 3, INTERPRETER)
    rest = again.poll(10, 0)
    assert [(one.offset, one.next_offset) for one in rest] == [(3, 4), (4, DONE)]
    assert all(isinstance(one.content, Half) for one in rest)
    assert FilesSource(Directory(logs, 1.0), lambda _: DONE, INTERPRETER).poll(10, 0) == []


def test_files_that_are_not_finished_or_not_readable_stop_nothing(parts: Parts, logs: Path) -> None:
    (logs / "a.json").write_bytes(b"\0broken")
    for hidden in (".b.json", "c.json.tmp", "_success"):
        (logs / hidden).write_bytes(as_json("request"))
    (logs / "d.json").write_text(json.dumps([record("request", 1), {"x": 1}, record("request", 2, bytes="%%")]))
    for path in logs.iterdir():
        os.utime(path, (1, 1))
    (logs / "new.json").write_bytes(as_json("request"))  # still being written, for all we know
    drain(pairing_collector(parts, source_of(parts, logs)))
    letters = parts.store.dead_letters(10)
    assert sorted((letter.partition, letter.offset) for letter in letters) == [
        ("files:a.json", 0),
        ("files:d.json", 1),
        ("files:d.json", 2),
    ]
    assert {letter.reason for letter in letters} == {"malformed"}
    assert outcomes(parts.store) == {"received": 1}


def test_two_collectors_of_one_directory_count_nothing_twice(parts: Parts, url: str, logs: Path) -> None:
    for number in range(30):
        write(logs, number, "request")
        write(logs, number, "response")
    parts.settings = type(parts.settings)(minimum_batch_records=7, maximum_batch_records=9)
    collectors = [pairing_collector(parts, source_of(parts, logs)) for _ in range(2)]
    idle = 0
    while idle < 4:
        for collector in collectors:
            try:
                idle = 0 if collector.run_once() else idle + 1
            except TransientError:  # the other one was first
                idle = 0
    assert outcomes(parts.store) == {"received": 60, "paired": 60}
    assert len(tables(url)["predictions"]) == 30


def test_an_object_store_is_read_like_a_directory(logs: Path) -> None:
    store = from_url(f"file://{logs}")
    store.put("logs/id-1-request.json", as_json("request", "response"))
    place = open_place(f"file://{logs}", 1.0)
    (seen,) = place.list()
    assert seen.path == "logs/id-1-request.json"
    assert place.read("gone.json") is None
    found = FilesSource(place, lambda _: None, INTERPRETER).poll(10, 0)
    assert [one.partition for one in found] == ["files:logs/id-1-request.json"] * 2
    assert not any(isinstance(one.content, Malformed) for one in found)


def test_what_was_read_before_the_place_went_away_is_handed_out(logs: Path) -> None:
    class Patchy(Directory):
        """Refuses the second file that it is asked for."""

        asked = 0

        def read(self, path: str) -> bytes | None:
            self.asked += 1
            if self.asked == 2:
                raise UnavailableError("files", path)
            return super().read(path)

    for name in ("id-1-request.json", "id-2-request.json"):
        (logs / name).write_bytes(as_json("request"))
    source = FilesSource(Patchy(logs, 0.0), lambda _: None, INTERPRETER)
    given = [{one.partition for one in source.poll(10, 0)} for _ in range(2)]
    assert sorted(map(sorted, given)) == [["files:id-1-request.json"], ["files:id-2-request.json"]]


def test_a_store_that_does_not_answer_or_has_no_address_is_said_so(logs: Path) -> None:
    with pytest.raises(SettingsError, match="nonsense://x"):
        open_place("nonsense://x", 1.0)
    place = Directory(logs, 0.0)
    (logs / "directory.json").mkdir()
    with pytest.raises(UnavailableError, match="directory"):
        place.read("directory.json")
    assert place.list() == []


@pytest.mark.real
@pytest.mark.slow
def test_a_bucket_is_read_below_its_prefix(s3_program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [port] = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    command = [str(s3_program), "-H", "127.0.0.1", "-p", str(port)]
    with PartProcess(command, tmp_path / "log") as process:
        process.wait_ready(lambda: answers(f"{endpoint}/moto-api/"), 120)
        put(f"{endpoint}/logs", b"")
        put(f"{endpoint}/logs/kserve/flights/id-1-request.json", as_json("request", "response"))
        put(f"{endpoint}/logs/other/id-2-request.json", as_json("request"))
        place = open_place("s3://logs/kserve", 1.0)
        source = FilesSource(place, lambda _: None, INTERPRETER)
        found = list(source.poll(10, 0))
        assert place.read("flights/gone.json") is None
    assert [one.partition for one in found] == ["files:flights/id-1-request.json"] * 2
    assert all(isinstance(one.content, Half) for one in found)
    with pytest.raises(UnavailableError, match="files"):
        place.list()


@pytest.mark.real
@pytest.mark.slow
def test_a_bucket_of_google_is_read_below_its_prefix(
    gcs_reader: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("GCE_METADATA_HOST", "METADATA_HOST", "METADATA_IP"):
        monkeypatch.setenv(variable, "127.0.0.1:1")
    with gcs_server(gcs_reader, tmp_path) as server:
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(server.account))
        monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
        server.put("kserve/flights/id-1-request.json", as_json("request", "response"))
        server.put("other/id-2-request.json", as_json("request"))
        place = open_place("gs://bucket/kserve", 1.0)
        found = list(FilesSource(place, lambda _: None, INTERPRETER).poll(10, 0))
        assert place.read("flights/gone.json") is None
    assert [one.partition for one in found] == ["files:flights/id-1-request.json"] * 2
    assert all(isinstance(one.content, Half) for one in found)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["az", "abfs"])
def test_a_container_of_azure_is_read_below_its_folder(
    scheme: str, azurite_program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with azurite_server(azurite_program, tmp_path) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.make_container("logs")
        server.put("logs/kserve/flights/id-1-request.json", as_json("request", "response"))
        server.put("logs/other/id-2-request.json", as_json("request"))
        place = open_place(f"{scheme}://logs/kserve", 1.0)
        found = list(FilesSource(place, lambda _: None, INTERPRETER).poll(10, 0))
        assert place.read("flights/gone.json") is None
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm8=")
        with pytest.raises(UnavailableError, match="files"):
            open_place(f"{scheme}://logs/kserve", 1.0).list()
    assert [one.partition for one in found] == ["files:flights/id-1-request.json"] * 2
    assert all(isinstance(one.content, Half) for one in found)


def put(url: str, data: bytes) -> None:
    headers = {"content-type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT"), timeout=60).close()
