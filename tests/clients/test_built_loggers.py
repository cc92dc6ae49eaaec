"""Knative's Kafka broker and ModelMesh, the real programs, built from their sources: ``make loggers`` runs this."""

import shutil
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from collector.sources.kafka_topics import TopicsSettings, TopicsSource
from collector.store.migrate import migrate
from collector.store.store import Store
from driftline.records import Record
from driftline.testing import ListSource
from tests.clients.built_loggers import KNATIVE, MODELMESH, KnativeBroker, ModelMesh, built, infer, register
from tests.clients.collecting import INTERPRETER, Receiving, Stored, stored
from tests.clients.test_producers import HALVES, ROWS, asked, without_ids
from tests.parts.missing import MissingPartError
from tests.parts.processes import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.built]

Need = Callable[[str, Callable[[], Any]], Any]


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    """A collector that takes events."""
    with Receiving(tmp_path) as found:
        yield found


def find_etcd() -> str:
    found = shutil.which("etcd")
    if found is None:
        raise MissingPartError("etcd", "apt-get install etcd-server")
    return found


def kserve_post(url: str, kind: str, body: bytes, request_id: str) -> int:
    """One event as KServe's agent sends it."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": request_id,
        "ce-type": f"org.kubeflow.serving.inference.{kind}",
        "ce-source": "line-predictor-0",
        "ce-time": "2026-11-21T10:00:00.5Z",
        "ce-inferenceservicename": "line",
        "ce-namespace": "shop",
        "ce-metadata": '{"X-Tenant":["a b"]}',
        "Content-Type": "application/json",
    }
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status)


@built(KNATIVE)
@pytest.mark.parametrize("content_mode", ["BINARY", "STRUCTURED"])
def test_what_knatives_kafka_broker_keeps_and_what_it_hands_on_are_the_same_rows(
    kafka: str, receiving: Receiving, tmp_path: Path, content_mode: str
) -> None:
    topic = f"knative-broker-shop-{uuid.uuid4().hex}"
    (tmp_path / "broker").mkdir()
    broker = KnativeBroker(tmp_path / "broker", kafka, topic, receiving.url, content_mode)
    with broker.running():
        wait_until(lambda: kserve_post_taken(broker.url), 120, "the broker knows its topic")
        for kind, body in HALVES:
            assert kserve_post(broker.url, kind, body, "chosen") == 202
        receiving.wait_for(4)
    found = receiving.store()
    assert (found.rows, found.letters) == (sorted([*asked("chosen"), *asked("first")]), [])
    assert found.halves == {"received": 4, "paired": 4}
    (tmp_path / "topic").mkdir()
    read = read_topic(kafka, topic, 4, tmp_path / "topic")
    assert (read.rows, read.halves, read.letters) == (found.rows, found.halves, [])


def read_topic(kafka: str, topic: str, messages: int, directory: Path) -> Stored:
    """What a collector stores that reads the topic, or all topics of a pattern."""
    source = TopicsSource(TopicsSettings((kafka,), f"group-{topic}", {topic: "any"}), lambda _: None, INTERPRETER)
    records: list[Record] = []

    def read_all() -> bool:
        records.extend(source.poll(100, 0.5))
        return len(records) >= messages

    wait_until(read_all, 120, "the topic is read")
    source.close()
    address = f"sqlite:///{directory}/store.db"
    migrate(address)
    store = Store(address, prepare=False)
    try:
        return stored(store, address, ListSource(records, lambda _: None), directory)
    finally:
        store.close()


def kserve_post_taken(url: str) -> bool:
    """Whether a broker that has just started takes both halves of a first inference."""
    try:
        return [kserve_post(url, kind, body, "first") for kind, body in HALVES] == [202, 202]
    except OSError:
        return False


@built(MODELMESH)
def test_what_passes_modelmesh_is_stored(need: Need, receiving: Receiving, tmp_path: Path) -> None:
    etcd = need("etcd", find_etcd)
    (tmp_path / "mesh").mkdir()
    mesh = ModelMesh(tmp_path / "mesh", etcd, f"{receiving.url}consumer/kserve/v2/shop")
    columns = dict(zip("ab", zip(*ROWS, strict=True), strict=True))
    with mesh.running() as channel:
        register(channel, "line", "line__isvc-3642375d03")
        for _ in range(3):
            infer(channel, "line", columns)
        with pytest.raises(grpc.RpcError, match="two columns"):
            infer(channel, "line", {"a": [1.0]})
        receiving.wait_for(8)
    found = receiving.store()
    assert found.letters == []
    assert without_ids(found.rows) == without_ids(asked("") * 3)
    assert len({row[0] for row in found.rows}) == 3
    assert found.halves == {"received": 8, "paired": 8}
