"""Events as objects: whole, by model and hour, and never doubled by a repetition."""

import base64
import contextlib
import gzip
import http.client
import http.server
import json
import os
import re
import subprocess
import threading
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from driftline.errors import SettingsError, UnavailableError
from driftline.events import InferenceEvent, Payload, decode_frame
from logger_sidecar.shipping.delivery import Backoff, Shipper
from logger_sidecar.shipping.meters import SinkMeters
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_objects import ObjectSink, open_sink
from logger_sidecar.shipping.sink_urls import parse
from logger_sidecar.spool.readers import PlanFile
from logger_sidecar.spool.segments import read_cursor
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.test_shipper import always
from tests.logger_sidecar.test_spool import fill
from tests.parts.http import answers
from tests.parts.processes import free_ports, wait_until

HOUR_NS = 3600 * 10**9


def event(number: int, **changes: object) -> InferenceEvent:
    given = {
        "id": f"id-{number}",
        "source": "/ns/workload/pod",
        "namespace": "ns",
        "model": "iris",
        "time_ns": 1_700_000_000_123_456_789 + number,
        "request_id": f"r{number}",
        "protocol": "v2",
        "status_code": 200,
        "duration_ms": 2.5,
        "traceparent": "00-ab-cd-01",
        "request": Payload(content_type="application/json", headers={"x-a": "b"}, body=b'{"a":\n1}'),
        "response": Payload(body=b"\x00\xff"),
    }
    return InferenceEvent(**{**given, **changes})  # type: ignore[arg-type]


def sink(directory: Path, options: str = "") -> ObjectSink:
    return open_sink(parse(f"file://{directory}/out?{options}"), ShipperSettings())


def files(directory: Path) -> dict[str, bytes]:
    root = directory / "out"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_parquet_has_every_attribute_of_the_event(tmp_path: Path) -> None:
    events = [event(1), event(2, grpc_status=5, redacted=True, chunk_count=3, metadata={"team": "red"})]
    assert sink(tmp_path).deliver(events) == {}
    [(name, _)] = files(tmp_path).items()
    assert name == "model=iris/date=2023-11-14/hour=22/id-1.parquet"
    rows = pq.ParquetFile(tmp_path / "out" / name).read().to_pylist()
    assert [row["id"] for row in rows] == ["id-1", "id-2"]
    halves = ("request", "response")
    expected = set(InferenceEvent.__struct_fields__) - {"time_ns", *halves} | {"time"}
    expected |= {f"{half}_{field}" for half in halves for field in Payload.__struct_fields__}
    assert set(rows[0]) == expected
    for row, given in zip(rows, events, strict=True):
        row["metadata"] = dict(row["metadata"])
        assert all(row[name] == getattr(given, name) for name in InferenceEvent.__struct_fields__ if name in row)
        assert row["time"].value == given.time_ns
        for half in halves:
            payload = getattr(given, half)
            assert (row[f"{half}_body"], dict(row[f"{half}_headers"])) == (payload.body, payload.headers)
            assert row[f"{half}_content_type"] == payload.content_type


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_json_lines_are_cloudevents_one_per_line(tmp_path: Path, compression: str) -> None:
    sink(tmp_path, f"format=jsonl&compression={compression}").deliver([event(1), event(2)])
    [(name, data)] = files(tmp_path).items()
    suffix = {"none": "", "gzip": ".gz", "zstd": ".zst"}[compression]
    assert name == f"model=iris/date=2023-11-14/hour=22/id-1.jsonl{suffix}"
    plain = data
    if compression == "gzip":
        plain = gzip.decompress(data)
    elif compression == "zstd":
        plain = zstandard.ZstdDecompressor().decompress(data)
    first, second = map(json.loads, plain.decode().splitlines())
    assert (first["id"], second["id"], first["time"]) == ("id-1", "id-2", "2023-11-14T22:13:20.123456790Z")
    assert (first["traceparent"], first["statuscode"], first["subject"]) == ("00-ab-cd-01", "200", "iris")
    assert first["data"]["request"] == {"contenttype": "application/json", "headers": {"x-a": "b"}, "body": {"a": 1}}
    assert base64.b64decode(first["data"]["response"]["bodybase64"]) == b"\x00\xff"


def test_kserves_form_has_its_names_and_fields(tmp_path: Path) -> None:
    sink(tmp_path, "format=kserve-json&compression=none").deliver([event(1), event(2, metadata={"team": "red"})])
    found = files(tmp_path)
    assert list(found) == ["ns/workload/predictor/id-1-request.json", "ns/workload/predictor/id-1-response.json"]
    first, second = json.loads(found["ns/workload/predictor/id-1-request.json"])
    assert set(first) == {
        *("url", "bytes", "contentType", "reqType", "id", "sourceUri", "inferenceService", "namespace", "component"),
        *("endpoint", "metadata", "annotations", "certName", "tlsSkipVerify", "occurrenceTime"),
    }
    assert (first["id"], second["id"], first["metadata"]) == ("id-1", "id-2", {"x-a": ["b"]})
    assert (first["annotations"], second["annotations"]) == ({}, {"team": "red"})
    assert base64.b64decode(first["bytes"]) == b'{"a":\n1}'


def test_each_model_and_hour_has_a_file_of_its_own_and_names_stay_inside(tmp_path: Path) -> None:
    events = [
        event(1),
        event(2, model="../etc/passwd"),
        event(3, time_ns=1_700_000_000 * 10**9 + HOUR_NS),
        event(4, model=""),
        event(5, model=".."),
        event(6, id="../../x"),
    ]
    sink(tmp_path, "format=jsonl&compression=none").deliver(events)
    assert list(files(tmp_path)) == [
        "model=%2E%2E/date=2023-11-14/hour=22/id-5.jsonl",
        "model=..%2Fetc%2Fpasswd/date=2023-11-14/hour=22/id-2.jsonl",
        "model=_/date=2023-11-14/hour=22/id-4.jsonl",
        "model=iris/date=2023-11-14/hour=22/id-1.jsonl",
        "model=iris/date=2023-11-14/hour=23/id-3.jsonl",
    ]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("options", ["format=jsonl&compression=none", "format=kserve-json"])
def test_a_name_that_is_longer_than_a_file_system_takes_ends_in_its_digest(tmp_path: Path, options: str) -> None:
    long = ["x" * 300, "x" * 301, "\u00e9" * 100, "é" * 99 + "e", "y" * 200]
    events = [event(number, model=name, namespace=name) for number, name in enumerate(long)]
    assert sink(tmp_path, options).deliver(events) == {}
    folders = {path.relative_to(tmp_path / "out").parts[0] for path in (tmp_path / "out").rglob("*.*")}
    assert len(folders) == len(long)
    assert all(len(folder) <= 206 for folder in folders)
    assert any(folder.endswith("y" * 200) for folder in folders)
    assert all(re.fullmatch(r"([^%]|%[0-9A-F]{2})*", folder) for folder in folders)


def test_a_directory_that_cannot_be_written_is_unavailable_and_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UnavailableError, match="out"):
        sink(tmp_path).deliver([event(1)])
    (tmp_path / "out").unlink()
    assert sink(tmp_path).deliver([event(1)]) == {}


class DyingSink:
    """Delivers to another one, and dies after so many objects; says to the shipper what that one says."""

    def __init__(self, inner: ObjectSink, lives: int) -> None:
        self.name, self.bounds = inner.name, inner.bounds
        self._inner = inner
        self._lives = lives

    def read(self, frame: bytes) -> InferenceEvent:
        return decode_frame(frame)

    def deliver(self, events: list[InferenceEvent]) -> Mapping[int, str]:
        refused = self._inner.deliver(events)
        self._lives -= 1
        if self._lives < 0:
            raise KeyboardInterrupt  # the process ends here: delivered, and the position not moved
        return refused

    def close(self) -> None: ...


def test_a_batch_that_is_repeated_stands_where_the_first_one_stood(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(20))
    # Small batches by count; the last one before the crash ends early, because nothing more had come.
    url = f"file://{tmp_path}/out?format=jsonl&compression=none&batch_events=8&max_age=0.001&name=archive"

    def ship(lives: int) -> None:
        inner = open_sink(parse(url), ShipperSettings())
        source = SpoolSource(spool, "archive", lambda _partition: None)
        shipper = Shipper(
            source,
            DyingSink(inner, lives),
            SinkMeters("archive", lambda: 0),
            Backoff(0.0, 0.0),
            PlanFile(spool, "archive"),
        )
        try:
            with contextlib.suppress(KeyboardInterrupt):
                assert shipper.drain(always)
        finally:
            source.close()

    ship(lives=2)  # dies with the third batch, which holds four events
    before = files(tmp_path)
    assert [len(data.splitlines()) for data in before.values()] == [8, 4, 8]
    position = read_cursor(spool, "archive")
    fill(spool, range(20, 40))  # what comes meanwhile must not change the batch that is repeated
    ship(lives=99)
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    ids = [json.loads(line)["id"] for data in after.values() for line in data.splitlines()]
    assert sorted(ids, key=int) == [str(number) for number in range(40)]
    assert (read_cursor(spool, "archive") or 0) > (position or 0)


# --- stores -------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def serving(command: list[str], url: str, **environ: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environ}
    )
    try:
        wait_until(lambda: answers(url), 120, url)
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.real
@pytest.mark.slow
def test_s3_takes_objects_and_a_repetition_overwrites_them(s3_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    options = f"endpoint={endpoint}&allow_http=true&region=us-east-1&timeout=60"
    one = open_sink(parse(f"s3://bucket/some/prefix?{options}"), ShipperSettings())
    with pytest.raises(UnavailableError, match="bucket"):
        one.deliver([event(1)])  # there is no such server yet
    with serving([str(s3_program), "-H", "127.0.0.1", "-p", str(port)], f"{endpoint}/moto-api/"):
        with pytest.raises(UnavailableError):
            one.deliver([event(1)])  # there is no such bucket yet
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        large = event(2, response=Payload(body=os.urandom(12_000_000)))
        for _ in range(2):
            assert one.deliver([event(1), large]) == {}
        listing = urllib.request.urlopen(f"{endpoint}/bucket?list-type=2").read().decode()
        key = "some/prefix/model%3Diris/date%3D2023-11-14/hour%3D22/id-1.parquet"
        assert listing.count("<Key>") == 1
        data = urllib.request.urlopen(f"{endpoint}/bucket/{key}").read()
    import pyarrow as pa

    rows = pq.read_table(pa.BufferReader(data)).to_pylist()
    assert [(row["id"], len(row["response_body"])) for row in rows] == [("id-1", 2), ("id-2", 12_000_000)]


@contextlib.contextmanager
def with_etags(port: int) -> Iterator[str]:
    """A server in front of the one at ``port`` that adds the ETag which Google's answers have and that one's lack."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            behind = http.client.HTTPConnection("127.0.0.1", port)
            body = self.rfile.read(int(self.headers["content-length"]))
            behind.request("PUT", self.path, body, dict(self.headers))
            answer = behind.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("etag", f'"{zlib.crc32(body)}"')
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, *_args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.real
@pytest.mark.slow
def test_gcs_takes_objects(gcs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    # An account that asks nobody for a token; and were it to ask, there is nobody at this address.
    for variable in ("GCE_METADATA_HOST", "METADATA_HOST", "METADATA_IP"):
        monkeypatch.setenv(variable, "127.0.0.1:1")
    account = tmp_path / "account.json"
    account.write_text(
        json.dumps(
            {
                "gcs_base_url": endpoint,  # and "endpoint" of the URL before it
                "disable_oauth": True,
                "client_email": "",
                "private_key": "",
                "private_key_id": "",
            }
        )
    )
    command = [str(gcs_program), "start", "--host", "127.0.0.1", "--port", str(port), "--default-bucket", "bucket"]
    with serving([*command, "--in-memory"], f"{endpoint}/storage/v1/b/bucket"), with_etags(port) as front:
        options = f"endpoint={front}&service_account_file={account}&timeout=60"
        one = open_sink(parse(f"gs://bucket/prefix?{options}&format=jsonl&compression=none"), ShipperSettings())
        for _ in range(2):
            assert one.deliver([event(1), event(2)]) == {}
        listing = json.load(urllib.request.urlopen(f"{endpoint}/storage/v1/b/bucket/o"))
        assert [item["name"] for item in listing["items"]] == ["prefix/model=iris/date=2023-11-14/hour=22/id-1.jsonl"]


def test_wrong_settings_of_a_store_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json"):
        open_sink(parse(f"gs://bucket?service_account_file={tmp_path}/none.json"), ShipperSettings())
    with pytest.raises(SettingsError, match=r"none\.pem"):
        open_sink(parse(f"s3://bucket?ca_file={tmp_path}/none.pem"), ShipperSettings())


def test_a_store_that_refuses_says_why_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-that-is-wrong")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            data = b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
            self.send_response(403)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, *_args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    url = f"s3://bucket/a/rather/long/prefix?endpoint={endpoint}&allow_http=true&format=jsonl&region=us-east-1"
    try:
        with pytest.raises(UnavailableError, match=r"403 Forbidden.*SignatureDoesNotMatch") as caught:
            open_sink(parse(url), ShipperSettings()).deliver([event(1)])
    finally:
        server.shutdown()
        server.server_close()
    assert "secret-that-is-wrong" not in str(caught.value)
