"""The shipper: order kept, nothing acknowledged before it is delivered, faults counted or waited out."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage as OracleMessage
from cloudevents.core.bindings.kafka import from_binary_event
from cloudevents.core.formats.json import JSONFormat
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, KafkaMessage, decode_frame, decode_inference
from driftline.records import Malformed, Record
from logger_sidecar.server import environment_of
from logger_sidecar.shipping.delivery import Backoff, Shipper
from logger_sidecar.shipping.meters import SinkMeters
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sinks import BatchBounds
from logger_sidecar.spool.segments import read_cursor
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.supervisor import Supervisor
from tests.logger_sidecar.test_spool import event, fill
from tests.parts.processes import free_ports, refusing_socket, wait_until


class ListSink:
    """Takes events; fails as often as told; refuses ids as told."""

    name = "list"

    def __init__(self, failures: int = 0, refuses: Sequence[str] = (), bounds: BatchBounds | None = None) -> None:
        self.taken: list[InferenceEvent] = []
        self.batches: list[list[str]] = []
        self.bounds = bounds or BatchBounds(max_events=10)
        self.failures = failures
        self._refuses = refuses

    def read(self, frame: bytes) -> InferenceEvent:
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> dict[int, str]:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("list", "not now")
        refused = {index: "too_large" for index, event in enumerate(events) if event.request_id in self._refuses}
        self.taken.extend(event for index, event in enumerate(events) if index not in refused)
        self.batches.append([event.id for event in events])
        return refused

    def close(self) -> None: ...


def make(source: SpoolSource, sink: ListSink, slept: list[float]) -> tuple[Shipper, SinkMeters]:
    meters = SinkMeters(sink.name, lambda: sum(source.lag().values()))
    return Shipper(source, sink, meters, Backoff(1.0, 4.0, sleep=slept.append, jitter=lambda: 1.0)), meters


def always() -> bool:
    return True


def test_everything_is_shipped_in_order_and_the_cursor_stands_at_the_end(tmp_path: Path) -> None:
    fill(tmp_path, range(35))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink()
    shipper, meters = make(source, sink, [])
    assert shipper.drain(always)
    assert sink.taken == [event(number) for number in range(35)]
    assert (meters.delivered, meters.failed, source.lag()) == (35, {}, {"spool:kafka": 0})
    source.close()
    again = SpoolSource(tmp_path, "kafka", lambda _partition: None)
    assert again.poll(10, 0.0) == []


def test_a_sink_that_is_away_is_tried_again_with_growing_pauses_and_nothing_is_lost(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(failures=5)
    slept: list[float] = []
    shipper, meters = make(source, sink, slept)
    assert shipper.drain(always)
    assert slept == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert meters.delivered == 5


def test_the_cursor_does_not_move_while_the_sink_is_away(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(failures=99)
    shipper, _ = make(source, sink, [])
    before, tries = read_cursor(tmp_path, "kafka"), iter(range(10))
    assert not shipper.drain(lambda: next(tries, None) is not None)
    assert read_cursor(tmp_path, "kafka") == before


def test_what_can_never_be_delivered_is_counted_and_stepped_over(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(refuses=["r2"])
    shipper, meters = make(source, sink, [])
    assert shipper.drain(always)
    assert [event.request_id for event in sink.taken] == ["r0", "r1", "r3", "r4"]
    assert (meters.delivered, meters.failed) == (4, {"too_large": 1})


class SlowSource:
    """Gives its records a few at a time, with nothing in between."""

    partition = "spool:x"

    def __init__(self, pieces: Sequence[Sequence[int]], size: int = 10) -> None:
        self.acknowledged = 0
        self.polls = 0
        self._pieces = [
            [Record("spool:x", number * size, (number + 1) * size, event(number)) for number in piece]
            for piece in pieces
        ]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        self.polls += 1
        return self._pieces.pop(0) if self._pieces else []

    def acknowledge(self, partition: str, next_offset: int) -> None:
        self.acknowledged = next_offset

    def lag(self) -> dict[str, int]:
        return {}


class MemoryPlans:
    """Plans that outlive a shipper, as the file does."""

    def __init__(self, *known: tuple[int, int]) -> None:
        self.known = dict(known)

    def planned_end(self, first_offset: int) -> int | None:
        return self.known.get(first_offset)

    def plan(self, first_offset: int, end_offset: int) -> None:
        self.known[first_offset] = end_offset


def shipped(source: SlowSource, bounds: BatchBounds, plans: MemoryPlans | None = None) -> list[list[str]]:
    """The batches that a sink with these bounds is given at the end of a shipper's life."""
    sink = ListSink(bounds=bounds)
    assert Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0), plans).drain(always)
    return sink.batches


def test_a_batch_is_bounded_in_events_and_in_bytes_and_holds_one_at_least() -> None:
    numbers = [range(7), range(7, 9)]
    assert shipped(SlowSource(numbers), BatchBounds(max_events=4)) == [list("0123"), list("4567"), ["8"]]
    assert shipped(SlowSource(numbers), BatchBounds(max_bytes=35)) == [list("012"), list("345"), list("678")]
    assert shipped(SlowSource(numbers), BatchBounds(max_bytes=1)) == [[str(number)] for number in range(9)]


def test_a_batch_is_waited_for_only_while_there_is_time() -> None:
    pieces = [range(2), (), (), range(2, 5), ()]
    sink, source = ListSink(bounds=BatchBounds(max_events=4, max_wait_s=1000.0)), SlowSource(pieces)
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0))
    assert shipper.ship_batch(0.0, always, always)
    assert (sink.batches, source.acknowledged) == ([list("0123")], 40)
    assert shipper.ship_batch(0.0, always, lambda: False)  # the end has begun: what is there goes
    assert (sink.batches[1:], source.acknowledged) == ([["4"]], 50)


class Trickle(SlowSource):
    """Has one more record whenever it is asked."""

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        number = self.polls
        self.polls += 1
        return [Record("spool:x", number, number + 1, event(number))]


def test_a_batch_goes_when_its_time_is_over_however_much_still_trickles_in() -> None:
    sink, source = ListSink(bounds=BatchBounds(max_events=1_000_000, max_wait_s=0.01)), Trickle([])
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0))
    assert shipper.ship_batch(0.0, always, always)
    [batch] = sink.batches
    assert batch == [str(number) for number in range(source.polls)]
    assert source.acknowledged == source.polls > 1


def test_a_planned_batch_is_repeated_as_it_was_planned() -> None:
    bounds = BatchBounds(max_events=4, repeats_exactly=True)
    assert shipped(SlowSource([range(9)]), bounds, MemoryPlans((0, 20))) == [list("01"), list("2345"), list("678")]
    assert shipped(SlowSource([range(9)]), bounds, MemoryPlans((10, 20))) == [list("0123"), list("4567"), ["8"]]
    plans = MemoryPlans((0, 60))  # it was larger than batches are now
    assert shipped(SlowSource([range(3), range(3, 9)]), bounds, plans) == [list("012345"), list("678")]
    assert plans.known == {0: 60, 60: 90}


def test_an_event_read_and_not_delivered_is_delivered_later_in_order() -> None:
    source, sink = SlowSource([range(6)]), ListSink(failures=1, bounds=BatchBounds(max_events=4))
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0, sleep=lambda _seconds: None))
    tries = iter([True])
    assert not shipper.ship_batch(0.0, lambda: next(tries, False), always)
    assert (source.acknowledged, sink.batches) == (0, [])
    assert shipper.drain(always)
    assert sink.batches == [list("0123"), list("45")]


class DamagedSource:
    """A source with one record that is not an event."""

    partition = "spool:x"

    def __init__(self) -> None:
        self.acknowledged = 0
        self._records: list[Record] = [Record("spool:x", 0, 9, Malformed("corrupt_frame", "damage", b""))]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        records, self._records = self._records, []
        return records

    def acknowledge(self, partition: str, next_offset: int) -> None:
        self.acknowledged = next_offset

    def lag(self) -> dict[str, int]:
        return {}


def test_damage_in_the_spool_is_counted_and_stepped_over() -> None:
    source = DamagedSource()
    meters = SinkMeters("list", lambda: 0)
    shipper = Shipper(source, ListSink(), meters, Backoff(1.0, 1.0))
    assert shipper.drain(always)
    assert (source.acknowledged, meters.failed) == (9, {"corrupt_frame": 1})


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


# --- processes ----------------------------------------------------------------------------------------------------
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
        topic, bootstrap_servers=[kafka], auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=60_000
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
