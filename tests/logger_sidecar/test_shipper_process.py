"""The shipper as a process of its own: started anew, told to end, to follow other settings, or left by its parent."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage as OracleMessage
from cloudevents.core.bindings.kafka import from_binary_event
from cloudevents.core.formats.json import JSONFormat
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from driftline.events import KafkaMessage, decode_inference
from logger_sidecar.server import environment_of
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.supervisor import Supervisor
from tests.logger_sidecar.test_spool import fill
from tests.parts.processes import free_ports, refusing_socket, wait_until


def test_a_child_that_dies_is_started_again_after_a_growing_pause() -> None:
    now = [0.0]
    supervisor = Supervisor("timeit", {**os.environ, "PYTHONPATH": ""}, lambda: now[0])
    supervisor.tick()
    for expected, pause in ((1, 0.5), (2, 1.0)):
        pid = supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: supervisor.pid is None)
        supervisor.tick()  # notices, and waits
        assert supervisor.restarts == expected - 1
        now[0] += pause
        supervisor.tick()
        assert supervisor.restarts == expected
    supervisor.stop(5.0)
    assert supervisor.pid is None


def test_a_child_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    too_long = {"TOO_LONG": "x" * 300_000}  # for one variable of a process's environment
    supervisor = Supervisor("timeit", too_long, lambda: now[0])
    supervisor.tick()
    assert supervisor.pid is None
    assert "could not be started" in caplog.text
    supervisor.follow({**os.environ, "PYTHONPATH": ""})
    supervisor.tick()
    assert supervisor.pid is None  # the pause is not over
    now[0] += 0.5
    supervisor.tick()
    assert supervisor.pid is not None
    supervisor.stop(5.0)


_FIRST_PROCESS = """
import ctypes, os, subprocess, sys, time
from logger_sidecar.supervisor import bury_strangers

def ended():
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return found.si_pid

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
bury_strangers([])  # nobody there
subprocess.run(["sh", "-c", "sleep 0.01 & exit 0"], check=True)
ended()
own = subprocess.Popen(["sh", "-c", "exit 3"])
bury_strangers([own.pid])
assert ended() == own.pid, "the stranger is still there"
bury_strangers([own.pid])
assert own.wait() == 3
"""


def test_what_ended_and_is_waited_for_by_nobody_is_buried_and_ones_own_is_left() -> None:
    # A process that inherits orphans, as the first one of a container does.
    subprocess.run([sys.executable, "-c", _FIRST_PROCESS], check=True, timeout=60)


@contextlib.contextmanager
def shipper_process(
    directory: Path, bootstrap: str, **changes: object
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    [port] = free_ports(1)
    settings = ShipperSettings(
        spool_directory=directory,
        bootstrap_servers=(bootstrap,),
        admin_host="127.0.0.1",
        admin_port=port,
        **changes,  # type: ignore[arg-type]
    )
    environ = {**os.environ, **environment_of(settings, "SHIPPER")}
    process = subprocess.Popen([sys.executable, "-m", "logger_sidecar.shipping.shipper"], env=environ)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return data.partition(b"\r\n\r\n")[2].decode()


def answers(port: int, path: str, word: str) -> Callable[[], bool]:
    def condition() -> bool:
        with contextlib.suppress(OSError):
            return word in get(port, path)
        return False

    return condition


@pytest.mark.slow
def test_a_dead_broker_is_waited_for_and_the_end_is_still_bounded(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    with (
        refusing_socket() as (_, gone),
        shipper_process(tmp_path, f"127.0.0.1:{gone}", request_timeout_s=0.3, drain_timeout_s=0.5) as (process, port),
    ):
        wait_until(answers(port, "/healthz", "away: kafka"))
        lag = next(
            family
            for family in text_string_to_metric_families(get(port, "/metrics"))
            if family.name == names.SHIPPER_LAG_BYTES.name
        )
        assert [sample.labels for sample in lag.samples] == [{"sink": "kafka"}]
        process.terminate()
        assert process.wait(60) == 0
    source = SpoolSource(tmp_path, "kafka", lambda _partition: None)
    assert len(source.poll(10, 0.0)) == 3


@pytest.mark.slow
def test_a_shipper_says_who_it_is_and_what_it_costs(tmp_path: Path) -> None:
    fill(tmp_path / "spool", range(1))
    who = ("service.name=iris", "service.namespace=a%2Cb", "k8s.pod.name=iris-0")
    sinks = (f"file://{tmp_path}/out?format=jsonl&max_age=0.1&name=files",)
    with shipper_process(tmp_path / "spool", "127.0.0.1:1", sinks=sinks, resource=who) as (_, port):
        wait_until(answers(port, "/healthz", "ok"))
        families = {family.name: family for family in text_string_to_metric_families(get(port, "/metrics"))}
    (target,) = families["target_info"].samples
    assert target.labels == {"service_name": "iris", "service_namespace": "a,b", "k8s_pod_name": "iris-0"}
    (build,) = families[names.BUILD_INFO.name].samples
    assert build.labels["part"] == "shipper"
    assert families["process_resident_memory_bytes"].samples[0].value > 0


@pytest.mark.slow
def test_files_beside_a_sink_that_is_away_are_written_and_sighup_is_no_end(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(30))
    sinks = ("kafka", f"file://{tmp_path}/out?format=jsonl&compression=none&max_age=0.1&name=files")
    with shipper_process(spool, "127.0.0.1:1", sinks=sinks, request_timeout_s=0.3, drain_timeout_s=0.5) as (
        process,
        port,
    ):
        wait_until(answers(port, "/healthz", "away: kafka\n"))
        wait_until(
            answers(port, "/metrics", 'driftline_shipper_events_total{outcome="delivered",reason="",sink="files"} 30.0')
        )
        process.send_signal(signal.SIGHUP)
        fill(spool, range(30, 40))
        wait_until(
            answers(port, "/metrics", 'driftline_shipper_events_total{outcome="delivered",reason="",sink="files"} 40.0')
        )
        process.terminate()
        assert process.wait(60) == 0
    lines = [line for path in (tmp_path / "out").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(int(json.loads(line)["id"]) for line in lines) == list(range(40))


@pytest.mark.slow
def test_a_shipper_whose_parent_is_gone_leaves_its_port_to_the_next_one_before_it_waits_for_a_sink(
    tmp_path: Path,
) -> None:
    spool, out = tmp_path / "spool", tmp_path / "out"
    fill(spool, range(3))
    sinks = ("kafka", f"file://{out}?format=jsonl&compression=none&max_age=0.1&name=files")
    with (
        refusing_socket() as (_, gone),
        shipper_process(spool, f"127.0.0.1:{gone}", sinks=sinks, parent_pid=1, drain_timeout_s=600) as (orphan, port),
    ):
        wait_until(lambda: any(out.rglob("*.jsonl")))  # so it has had the port
        wait_until(lambda: can_be_bound(port))
        assert orphan.poll() is None


def can_be_bound(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_other_settings_are_followed_at_once_though_a_sink_is_away(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "out"
    fill(spool, range(3))
    [port] = free_ports(1)

    def environ(*sinks: str) -> dict[str, str]:
        changes = {"sinks": ("kafka", *sinks), "bootstrap_servers": (f"127.0.0.1:{gone}",), "drain_timeout_s": 600.0}
        settings = ShipperSettings(spool_directory=spool, admin_host="127.0.0.1", admin_port=port, **changes)
        return {**os.environ, **environment_of(settings, "SHIPPER")}

    with refusing_socket() as (_, gone):
        supervisor = Supervisor("logger_sidecar.shipping.shipper", environ(), time.monotonic)
        supervisor.tick()
        try:
            wait_until(answers(port, "/healthz", "away: kafka"))
            supervisor.follow(environ(f"file://{out}?format=jsonl&compression=none&max_age=0.1&name=files"))
            wait_until(lambda: supervisor.pid is None)
            supervisor.tick()
            wait_until(lambda: any(out.rglob("*.jsonl")))
            assert supervisor.restarts == 1
        finally:
            supervisor.stop(0.0)


@pytest.mark.slow
def test_wrong_settings_end_the_shipper_and_name_the_fault(tmp_path: Path) -> None:
    environ = {**os.environ, "DRIFTLINE_SHIPPER_BOOTSTRAP_SERVERS": "nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "logger_sidecar.shipping.shipper"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "bootstrap_servers holds 'nowhere'" in done.stderr


@pytest.mark.real
@pytest.mark.slow
def test_events_reach_kafka_as_cloudevents_that_others_read(tmp_path: Path, kafka: str) -> None:
    from kafka import KafkaConsumer

    topic = f"sidecar-{os.getpid()}-{time.time_ns()}"
    fill(tmp_path, range(40))
    with shipper_process(tmp_path, kafka, topic=topic) as (process, port):
        wait_until(
            answers(port, "/metrics", 'driftline_shipper_events_total{outcome="delivered",reason="",sink="kafka"} 40.0')
        )
        fill(tmp_path, range(40, 60))
        process.terminate()  # the rest goes out in the last drain
        assert process.wait(60) == 0
    consumer = KafkaConsumer(
        topic, bootstrap_servers=[kafka], auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=240_000
    )
    found = {}
    for record in consumer:
        assert decode_inference(record.headers, record.value).request_id == record.key.decode()
        oracle = from_binary_event(
            OracleMessage(headers=dict(record.headers), key=record.key, value=record.value), JSONFormat()
        )
        found[oracle.get_id()] = oracle
        if len(found) == 60:
            break
    consumer.close()
    assert set(found) == {str(number) for number in range(60)}
    one = found["7"]
    assert (one.get_type(), one.get_source(), one.get_subject()) == (names.CE_TYPE_INFERENCE, "/a/b/c", "m")
    assert one.get_extension("requestid") == "r7"
    data = one.get_data()
    assert (data if isinstance(data, dict) else json.loads(data))["request"]["body"] == {}


@pytest.mark.real
@pytest.mark.slow
def test_an_event_too_large_for_kafka_is_counted_and_the_next_one_arrives(tmp_path: Path, kafka: str) -> None:
    from logger_sidecar.shipping.kafka import KafkaSink

    settings = ShipperSettings(
        bootstrap_servers=(kafka,), topic=f"large-{time.time_ns()}", max_request_bytes=5000, compression="none"
    )
    sink = KafkaSink(settings)
    messages = [KafkaMessage([], b"k", b"x" * size) for size in (10, 6000, 10)]
    assert sink.deliver(messages) == {1: "too_large"}
    sink.close()
    generous = KafkaSink(ShipperSettings(bootstrap_servers=(kafka,), topic=settings.topic, compression="none"))
    assert generous.deliver([KafkaMessage([], b"k", b"x" * 3_000_000), messages[0]]) == {0: "too_large"}
    generous.close()
