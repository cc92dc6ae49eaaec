"""Kafka away, the shipper killed: everything within the bound of the spool arrives, and the counters balance."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from driftline.events import decode_inference, encode_frame
from logger_sidecar.server import environment_of
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.spool.writer import DropPolicy, SpoolWriter
from tests.logger_sidecar.test_shipper_process import answers, get, shipper_process
from tests.logger_sidecar.test_spool import Tally, event, fill, put
from tests.parts.kafka import KafkaBroker
from tests.parts.processes import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

_QUICK = {"request_timeout_s": 1.0, "retry_backoff_s": 0.1, "max_backoff_s": 0.5}


def consumed(bootstrap: str, topic: str, wanted: int) -> Counter[str]:
    """How often each event stands in the topic."""
    consumer = KafkaConsumer(topic, bootstrap_servers=[bootstrap], auto_offset_reset="earliest", group_id=None)
    found: Counter[str] = Counter()

    def is_all() -> bool:
        polled = [record for records in consumer.poll(500).values() for record in records]
        found.update(decode_inference(record.headers, record.value).id for record in polled)
        return len(found) >= wanted and not polled

    try:
        wait_until(is_all, 120, f"{wanted} events in {topic}", pause_s=0.0)
    finally:
        consumer.close()
    return found


def events_of(port: int) -> dict[tuple[str, str], int]:
    """What the shipper counted, by outcome and reason."""
    name = names.SHIPPER_EVENTS.name.removesuffix("_total")
    families = text_string_to_metric_families(get(port, "/metrics"))
    [family] = [one for one in families if one.name == name]
    return {
        (one.labels["outcome"], one.labels["reason"]): int(one.value)
        for one in family.samples
        if one.name.endswith("_total")
    }


class Load(threading.Thread):
    """Writes events steadily until told to stop, as the recorder does: ``at_once`` two hundred times a second."""

    def __init__(self, spool: SpoolWriter, at_once: int = 1) -> None:
        super().__init__(daemon=True)
        self.tally = Tally()
        self.appended = 0
        self._spool = spool
        self._at_once = at_once
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.005):
            for _ in range(self._at_once):
                put(self._spool, encode_frame(event(self.appended, b'"%s"' % (b"x" * 300))), self.tally)
                self.appended += 1

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
@pytest.mark.parametrize("outage", ["hangs", "is killed"])
def test_a_broker_that_is_away_costs_nothing(
    tmp_path: Path, kafka_broker: KafkaBroker, client: str, outage: str
) -> None:
    away: tuple[Callable[[], None], Callable[[], None]] = (kafka_broker.pause, kafka_broker.resume)
    if outage == "is killed":
        away = (kafka_broker.kill, kafka_broker.start)
    spool = SpoolWriter(tmp_path / "spool", max_bytes=1 << 26, segment_bytes=1 << 18, first_offset=time.time_ns())
    with shipper_process(tmp_path / "spool", kafka_broker.bootstrap, kafka_client=client, **_QUICK) as (process, port):
        wait_until(answers(port, "/healthz", "ok"), 120, "the shipper")
        load = Load(spool)
        wait_until(lambda: events_of(port).get(("delivered", ""), 0) > 200, 120, "the first deliveries")
        away[0]()
        wait_until(lambda: "away: kafka" in get(port, "/healthz"), 120, "noticing the outage")
        before = load.appended
        wait_until(lambda: load.appended > before + 1000, 120, "load during the outage")
        away[1]()
        wait_until(lambda: get(port, "/healthz") == "ok\n", 120, "noticing the end of the outage")
        load.stop()
        spool.close()
        assert load.tally.counts == {"written": load.appended}
        # The shipper stands back behind whatever else a machine does, and has what was written meanwhile before it.
        wait_until(lambda: events_of(port) == {("delivered", ""): load.appended}, 400, "catching up")
        process.terminate()
        assert process.wait(120) == 0
    found = consumed(kafka_broker.bootstrap, names.TOPIC_INFERENCE, load.appended)
    assert set(found) == {str(number) for number in range(load.appended)}


@pytest.mark.parametrize("policy", ["newest", "oldest"])
def test_past_the_bound_the_policy_decides_and_every_event_is_counted(
    tmp_path: Path, kafka_broker: KafkaBroker, policy: DropPolicy
) -> None:
    spool = SpoolWriter(
        tmp_path / "spool",
        max_bytes=400_000,
        segment_bytes=50_000,
        first_offset=time.time_ns(),
        drop_policy=policy,
    )
    settings = {**_QUICK, "batch_records": 100}
    with shipper_process(tmp_path / "spool", kafka_broker.bootstrap, **settings) as (process, port):
        wait_until(answers(port, "/healthz", "ok"), 120, "the shipper")
        load = Load(spool, at_once=3)
        wait_until(lambda: events_of(port).get(("delivered", ""), 0) > 200, 120, "the first deliveries")
        kafka_broker.kill()
        before = load.appended
        wait_until(lambda: load.appended > before + 3000, 120, "load during the outage")
        load.stop()
        assert spool.bytes_held <= 400_000
        kafka_broker.start()
        spool.close()
        counts = load.tally.counts
        assert counts["written"] + counts["refused"] == load.appended
        assert (counts["refused"] > 0) is (policy == "newest")
        wait_until(lambda: sum(events_of(port).values()) == counts["written"], 400, "catching up")
        seen = events_of(port)
        assert (("failed", "spool_overwritten") in seen) is (policy == "oldest")
        process.terminate()
        assert process.wait(60) == 0
    found = consumed(kafka_broker.bootstrap, names.TOPIC_INFERENCE, seen["delivered", ""])
    assert len(found) == seen["delivered", ""]


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_shipper_that_is_killed_again_and_again_loses_nothing(tmp_path: Path, kafka: str, client: str) -> None:
    topic = f"killed-{os.getpid()}-{time.time_ns()}"
    fill(tmp_path, range(6000), max_bytes=1 << 24, segment_bytes=1 << 16)
    settings = ShipperSettings(
        spool_directory=tmp_path,
        bootstrap_servers=(kafka,),
        topic=topic,
        kafka_client=client,  # type: ignore[arg-type]
        batch_records=50,
        admin_host="127.0.0.1",
        admin_port=0,
    )
    environ = {**os.environ, **environment_of(settings, "SHIPPER")}
    pauses = random.Random(5)  # where in its work it dies
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-m", "logger_sidecar.shipping.shipper"], env=environ)
        time.sleep(pauses.uniform(0.5, 1.5))
        process.kill()
        process.wait()
    process = subprocess.Popen([sys.executable, "-m", "logger_sidecar.shipping.shipper"], env=environ)
    try:
        found = consumed(kafka, topic, 6000)
        assert set(found) == {str(number) for number in range(6000)}
        assert sum(found.values()) - 6000 <= 8 * 50  # a kill repeats one batch at most
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
