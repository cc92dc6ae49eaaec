"""A collector without any sidecar of ours: KServe's, Seldon's and ModelMesh's events in, rows and accuracy out."""

import base64
import gzip
import http.client
import json
import os
import random
import struct
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from collector.store.store import Store
from driftline import names
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports, wait_until
from tests.parts.protobuf import field, varint

pytestmark = pytest.mark.slow

MONITOR = """\
model: flights
task: binary
columns:
  - {name: distance, type: numeric}
  - {name: delay, type: numeric}
prediction: {column: late}
windows: {size: 1h, minimum_rows: 1}
labels: {reward: label}
pairing: {timeout: 1d}
"""
START_S = 1_795_000_000


def tensor(name: bytes, values: list[float]) -> bytes:
    """A tensor of ModelInfer with typed contents: name, datatype, shape, fp64_contents."""
    contents = field(7, struct.pack(f"<{len(values)}d", *values))
    return field(1, name) + field(2, b"FP64") + field(3, varint(len(values))) + field(5, contents)


def protobuf(number: int) -> tuple[bytes, bytes]:
    request = field(1, b"flights") + field(5, tensor(b"distance", [float(number)])) + field(5, tensor(b"delay", [1.0]))
    return request, field(1, b"flights") + field(5, tensor(b"late", [float(number % 2)]))


def frame(message: bytes) -> bytes:
    """A message as gRPC sends it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def v2_json(number: int) -> tuple[bytes, bytes]:
    one = {"shape": [1], "datatype": "FP64"}
    inputs = [{"name": "distance", "data": [number], **one}, {"name": "delay", "data": [1.0], **one}]
    outputs = [{"name": "late", "data": [number % 2], **one}]
    return json.dumps({"inputs": inputs}).encode(), json.dumps({"outputs": outputs}).encode()


def bodies(number: int) -> tuple[bytes, bytes]:
    """Request and answer number ``number``, in one of the ways that loggers hand bodies on."""
    way = number % 5
    if way == 0:
        return json.dumps({"instances": [[number, 1.0]]}).encode(), json.dumps({"predictions": [number % 2]}).encode()
    if way == 1:  # gzip that nobody speaks of
        request, answer = v2_json(number)
        return gzip.compress(request), gzip.compress(answer)
    if way == 2:
        request, answer = protobuf(number)
        return frame(request), frame(answer)
    if way == 3:  # binary tensors whose header was lost
        shared = {"shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}
        tensors = [{"name": "distance", **shared}, {"name": "delay", **shared}]
        return json.dumps({"inputs": tensors}).encode() + struct.pack("<2d", number, 1.0), v2_json(number)[1]
    return v2_json(number)


def sent_by_kserve(number: int, *, kind: str) -> tuple[str, dict[str, str], bytes]:
    body = bodies(number)[kind == "response"]
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START_S + number))
    headers = {
        "ce-specversion": "1.0",
        "ce-type": f"org.kubeflow.serving.inference.{kind}",
        "ce-id": f"kserve-{number}",
        "ce-source": "http://localhost:9081/",
        "ce-time": f"{at}.{'25' if kind == 'response' else '00'}Z",
        "ce-inferenceservicename": "flights",
        "ce-namespace": "default",
        "ce-metadata": '{"X-Tenant":["a"]}',
        "content-type": "application/grpc" if number % 5 == 2 else "application/x-www-form-urlencoded",
    }
    return "/", headers, body


def sent_by_modelmesh(number: int, *, kind: str) -> tuple[str, dict[str, str], bytes]:
    body = protobuf(number)[kind == "response"]
    payload = {
        "id": f"45-{number}",
        "modelid": "flights__isvc-1",
        "data": base64.b64encode(body).decode(),
        "kind": kind,
    }
    return "/consumer/kserve/v2", {"content-type": "application/json"}, json.dumps(payload).encode()


def sent_as_feedback(number: int) -> tuple[str, dict[str, str], bytes]:
    headers = {
        "ce-type": "io.seldon.serving.feedback",
        "ce-id": f"feedback-{number}",
        "ce-requestid": f"kserve-{number}",
        "ce-inferenceservicename": "flights",
        "ce-time": "2026-11-20T10:00:00Z",
    }
    return "/", headers, json.dumps({"truth": {"data": {"ndarray": [number % 3 % 2]}}, "reward": 0}).encode()


class Installation:
    """A collector that can be killed and started again."""

    def __init__(self, directory: Path, *settings: str, **environ: str) -> None:
        self.directory = directory
        self._environ = {f"DRIFTLINE_COLLECTOR_{name.upper()}": value for name, value in environ.items()}
        self.port = free_ports(1)[0]
        self.database = f"sqlite:///{directory}/store.db"
        (directory / "monitors").mkdir()
        (directory / "monitors" / "flights.yaml").write_text(MONITOR)
        self._settings = settings
        self._process: PartProcess | None = None

    def start(self) -> None:
        places = ["--monitors", str(self.directory / "monitors"), "--data-dir", str(self.directory / "data")]
        places += ["--spool-dir", str(self.directory / "spool"), "--database-url", self.database]
        command = [sys.executable, "-m", "driftline", "collector", *places, "--port", str(self.port), *self._settings]
        environ = {**os.environ, **self._environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = PartProcess(command, self.directory / "log", environ=environ)
        self._process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/readyz"), 120)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def send(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Whether the event was answered with 2xx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status in {200, 202}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def send_until_taken(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """As senders do: again where nothing was heard, or a broker on a busy machine had not answered in time."""
        wait_until(lambda: self.send(path, headers, body), 240, "an event is taken", pause_s=0.05)

    def halves(self) -> dict[str, int]:
        """What the metrics say became of all halves, by outcome."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == names.HALVES.name:
                    outcome = sample.labels[names.OUTCOME]
                    found[outcome] = found.get(outcome, 0) + int(sample.value)
        return found

    def rows(self) -> list[Any]:
        store = Store(self.database, prepare=False)
        try:
            (stream,) = [summary.stream for summary in store.streams()]
            return list(store.samples(stream, 0, 2e9, 10_000))
        finally:
            store.close()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, "--source", "none")
    yield made
    made.stop()


def test_what_was_answered_survives_kills_and_becomes_one_row_each(installation: Installation) -> None:
    random.seed(11)
    events = [sent_by_kserve(number, kind=kind) for number in range(120) for kind in ("request", "response")]
    events += [sent_by_modelmesh(number, kind=kind) for number in range(20) for kind in ("request", "response")]
    events += [sent_as_feedback(number) for number in range(0, 120, 4)]
    random.shuffle(events)
    installation.start()
    for number, event in enumerate(events):
        if number in {60, 130, 200}:
            installation.kill()
            installation.start()
        installation.send_until_taken(*event)
        if number % 40 == 0 and event[0] == "/":  # and some send twice all the same; ModelMesh never does
            installation.send(*event)
    wait_until(lambda: installation.halves().get("paired", 0) == 280, 120, "all halves paired")
    found = installation.halves()
    duplicates = found.pop("duplicate", 0)
    assert found == {"received": 280 + duplicates, "paired": 280}
    installation.stop()
    rows = installation.rows()
    kserve = {row.request_id: row for row in rows if row.request_id.startswith("kserve")}
    assert len(rows) == 140
    for number in range(120):
        row = kserve[f"kserve-{number}"]
        assert (dict(row.columns), row.prediction) == ({"distance": float(number), "delay": 1.0}, str(number % 2))
        assert row.label == (str(number % 3 % 2) if number % 4 == 0 else None)


def test_files_and_events_come_into_one_store(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    installation = Installation(tmp_path, "--source", "files", "--files-from", str(logs))
    for number in range(10):
        for kind in ("request", "response"):
            _, headers, body = sent_by_kserve(number, kind=kind)
            record = {
                "bytes": base64.b64encode(body).decode(),
                "reqType": headers["ce-type"],
                "id": headers["ce-id"],
                "inferenceService": "flights",
                "namespace": "default",
                "occurrenceTime": headers["ce-time"],
            }
            path = logs / f"kserve-{number}-{kind}.json"
            path.write_text(json.dumps(record))
            os.utime(path, (1, 1))
    installation.start()
    try:
        for number in range(10, 15):
            for kind in ("request", "response"):
                installation.send_until_taken(*sent_by_kserve(number, kind=kind))
        wait_until(lambda: installation.halves().get("paired", 0) == 30, 120, "all halves paired")
    finally:
        installation.stop()
    assert len(installation.rows()) == 15


@pytest.mark.real
def test_with_kafka_the_inbox_is_a_topic_and_topics_of_others_are_read_beside_it(kafka: str, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex[:8]
    topics = {f"kafka_topic_{name}": f"{name}-{mark}" for name in ("inference", "labels", "inbox")}
    groups = {"kafka_group": f"main-{mark}", "topics_group": f"others-{mark}", "topics": f"seldon-{mark}=seldon-v1"}
    installation = Installation(tmp_path, "--source", "kafka", "--bootstrap", kafka, **topics, **groups)
    producer = KafkaProducer(bootstrap_servers=kafka)
    try:
        for number in range(5):
            for kind in ("response", "request"):
                body = v2_json(number)[kind == "response"]
                fields = {"type": f"io.seldon.serving.inference.{kind}", "requestid": f"puid-{number}"}
                fields |= {
                    "inferenceservicename": "flights",
                    "namespace": "default",
                    "content-type": "application/json",
                }
                headers = [(name, value.encode()) for name, value in fields.items()]
                producer.send(f"seldon-{mark}", value=body, headers=headers)
        producer.flush()
        installation.start()
        for number in range(10):
            for kind in ("request", "response"):
                installation.send_until_taken(*sent_by_kserve(number, kind=kind))
        wait_until(lambda: installation.halves().get("paired", 0) == 30, 120, "all halves paired")
    finally:
        installation.stop()
        producer.close()
    assert len(installation.rows()) == 15
