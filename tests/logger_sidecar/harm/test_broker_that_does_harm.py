"""A broker that is dead, refuses, is silent or slow costs no inference anything."""

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from driftline.events import decode_inference
from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, alternate, drive, settled, sidecar_process
from tests.parts.kafka import KafkaBroker
from tests.parts.processes import free_ports, refusing_socket, wait_until

MIB = 1024 * 1024
#: Three rounds of requests of 1 KiB, echoed, overflow it.
SMALL_SPOOL = {
    "sidecar_spool_max_bytes": 4 * MIB,
    "sidecar_segment_bytes": MIB,
    "sidecar_buffer_bytes": MIB,
}


@contextlib.contextmanager
def broken_broker(kind: str) -> Iterator[str]:
    """An address where no broker answers: nobody listens, connections are closed at once, or nothing is ever said."""
    if kind == "dead":
        with refusing_socket() as (_, port):
            yield f"127.0.0.1:{port}"
        return
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if kind == "silent":
                        kept.append(connection)
                    else:
                        connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dead", "refusing", "silent"])
def test_a_broker_that_takes_nothing_fails_no_inference_even_when_the_spool_is_full(
    kind: str, tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    with broken_broker(kind) as broker, sidecar_process(tmp_path, echo, broker=broker, **SMALL_SPOOL) as sidecar:
        without, with_fault = alternate(healthy, sidecar)
        more = itertools.count(3)

        def is_full() -> bool:
            # Behind the proxy on a busy core the recorder may be late for so many that the others leave room.
            if "spool_full" in sidecar.outcomes():
                return True
            with_fault.append(drive(sidecar.port, 1000, tag=f"r{next(more)}"))
            return False

        wait_until(is_full, 120, "the spool is full")
        assert [report.wrong for report in with_fault] == [{}] * len(with_fault)
        outcomes = settled(sidecar.outcomes, 1000 * len(with_fault))
        figures.compare(f"broker {kind}, spool full", without, with_fault)
        figures.say(f"broker {kind}: {outcomes}")
        assert {"logged", "spool_full"} <= set(outcomes) <= {"logged", "spool_full", "buffer_full"}
        assert sum(file.stat().st_size for file in sidecar.spool.iterdir()) <= 4 * MIB


class DelayingProxy:
    """Passes bytes on to ``target``, each piece late by ``delay_s``, which may be changed at any time."""

    def __init__(self, port: int, target: int, delay_s: float) -> None:
        self.delay_s = delay_s
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                time.sleep(self.delay_s)
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.slow
@pytest.mark.real
def test_a_slow_broker_delays_no_inference_and_gets_every_event_in_the_end(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures, slow_broker: tuple[DelayingProxy, str]
) -> None:
    proxy, address = slow_broker
    topic = {"shipper_topic": "harm.slow", "shipper_request_timeout_s": 30}
    with sidecar_process(tmp_path, echo, broker=address, **topic) as sidecar:
        without, with_fault = alternate(healthy, sidecar)
        settled(sidecar.outcomes, 3000)
        figures.compare("broker slow (each piece 0.5 s late)", without, with_fault)
        proxy.delay_s = 0.0
        assert ids_in_topic(address, "harm.slow", 3000) == {
            f"r{number}-{n}" for number in range(3) for n in range(1000)
        }


@pytest.fixture
def slow_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[DelayingProxy, str]]:
    """A broker that is reached through a slow proxy only."""
    request.getfixturevalue("kafka")  # is Kafka here at all?
    (tmp_path / "slow-kafka").mkdir()
    port = free_ports(1)[0]
    broker = KafkaBroker(tmp_path / "slow-kafka", advertised_port=port)
    proxy = DelayingProxy(port, broker.port, 0.5)
    broker.start()
    yield proxy, f"127.0.0.1:{port}"
    broker.kill()
    proxy.close()


def ids_in_topic(bootstrap: str, topic: str, at_least: int) -> set[str]:
    """The request ids of the events in a topic, once there are so many different ones."""
    consumer = KafkaConsumer(topic, bootstrap_servers=[bootstrap], auto_offset_reset="earliest", group_id=None)
    found: set[str] = set()

    def enough() -> bool:
        for messages in consumer.poll(timeout_ms=500).values():
            found.update(decode_inference(one.headers, one.value).request_id for one in messages)
        return len(found) >= at_least

    try:
        wait_until(enough, 120, f"{at_least} events in {topic}")
    finally:
        consumer.close()
    return found


@pytest.mark.slow
@pytest.mark.real
def test_a_shipper_killed_again_and_again_loses_no_event(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures, kafka: str
) -> None:
    kills = 0
    with sidecar_process(tmp_path, echo, broker=kafka, shipper_topic="harm.killed") as sidecar:
        enough = threading.Event()

        def kill() -> None:
            nonlocal kills
            while not enough.wait(0.2):
                for child in sidecar.running("shipping.shipper"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                        kills += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            without, with_fault = alternate(healthy, sidecar)
            wait_until(lambda: kills >= 3, 120, "three kills")
        finally:
            enough.set()
            killer.join()
        figures.compare(f"shipper killed {kills} times", without, with_fault)
        assert settled(sidecar.outcomes, 3000) == {"logged": 3000}
        assert len(ids_in_topic(kafka, "harm.killed", 3000)) == 3000
