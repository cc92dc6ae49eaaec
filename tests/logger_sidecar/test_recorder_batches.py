"""What travels to the recorder in one batch: by which rules, gathered for how long, in which memory."""

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import cast

from driftline.events import InferenceEvent, encode_frame
from driftline.native import native_module
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.recording.batch_region import RegionReader
from logger_sidecar.recording.recorder_client import (
    RecorderClient,
    RecorderProcess,
    StartRecorder,
    start_recorder_process,
)
from logger_sidecar.recording.recorder_wire import (
    PREFIX,
    Ack,
    Announced,
    ReceivedRecord,
    Record,
    decode_message,
    encode,
)
from tests.logger_sidecar.test_recorder import Tally, environment, short, until, with_recorder
from tests.logger_sidecar.test_spool import event, read


class Listener:
    """A recorder that keeps what it is told, and answers a batch only when it may."""

    pid = -1

    def __init__(self, theirs: socket.socket) -> None:
        self.heard: list[Setup | list[ReceivedRecord | bytes]] = []
        self.may_answer = threading.Semaphore(0)
        self._connection = theirs.dup()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        region = RegionReader(*socket.recv_fds(self._connection, 1, 2)[1])
        with self._connection, self._connection.makefile("rb") as stream, contextlib.closing(region):
            while prefix := stream.read(PREFIX.size):
                message = decode_message(stream.read(PREFIX.unpack(prefix)[0]))
                self.heard.append(message if isinstance(message, Setup) else region.read(message))
                if isinstance(message, Announced):
                    if not self.may_answer.acquire(timeout=60):
                        return
                    self._connection.sendall(encode(Ack()))

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        return 0

    def kill(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)


def listening() -> tuple[list[Listener], StartRecorder]:
    """The recorders that were started, and what starts one more."""
    made: list[Listener] = []

    def start(theirs: socket.socket) -> RecorderProcess:
        made.append(Listener(theirs))
        return made[-1]

    return made, start


def in_words(heard: list[Setup | list[ReceivedRecord | bytes]]) -> list[object]:
    return [
        list(one.rules)
        if isinstance(one, Setup)
        else [record.event_id for record in one if isinstance(record, ReceivedRecord)]
        for one in heard
    ]


def as_received(body: bytes) -> bytes:
    """As the lane receives it, where this build has one."""
    shared = native_module("logger_sidecar.recording.shared_bytes")
    return body if shared is None else cast("bytes", shared.made(body))


def test_rules_hold_for_all_that_is_not_on_its_way_and_are_in_force_when_that_has_arrived() -> None:
    made, start = listening()

    async def scenario(client: RecorderClient) -> None:
        await client.in_force()
        client.put(short(1), 600, Tally())
        await until(lambda: len(made[0].heard) == 2)
        client.put(short(2), 600, Tally())
        client.follow(Setup(rules=("json:$.user",)))
        client.put(short(3), 600, Tally())
        waiting = asyncio.ensure_future(client.in_force())
        await until(lambda: client.buffered_records == 3)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        made[0].may_answer.release()
        await waiting
        made[0].may_answer.release()
        await until(lambda: client.buffered_records == 0)
        client.follow(Setup(rules=("json:$.user",)))  # says nothing new
        client.follow(Setup(rules=("json:$.name",)))
        await client.in_force()

    with_recorder(start, scenario)
    assert in_words(made[0].heard) == [[], ["1"], ["json:$.user"], ["2", "3"], ["json:$.name"]]


def test_what_a_dead_recorder_left_is_finished_by_the_newest_rules() -> None:
    made, start = listening()

    async def scenario(client: RecorderClient) -> None:
        client.put(short(1), 600, Tally())
        await until(lambda: len(made[0].heard) == 2)
        client.follow(Setup(rules=("json:$.user",)))
        made[0].kill()
        await client.in_force()
        await until(lambda: len(made) == 2 and len(made[1].heard) == 2)
        made[1].may_answer.release()
        await until(lambda: client.buffered_records == 0)

    with_recorder(start, scenario)
    assert in_words(made[1].heard) == [["json:$.user"], ["1"]]


def test_little_is_gathered_and_much_goes_at_once() -> None:
    made, start = listening()

    async def scenario(client: RecorderClient) -> None:
        made[0].may_answer.release(3)
        client.put(short(1), 600, Tally())
        client.follow(Setup(rules=("json:$.user",)))  # goes at once, and so before what is gathered
        await until(lambda: len(made[0].heard) == 2)
        client.put(short(2), 40_000, Tally())
        await until(lambda: client.buffered_records == 0)
        client.put(short(3), 40_000, Tally())
        await until(lambda: client.buffered_records == 0)

    with_recorder(start, scenario, buffer_bytes=100_000, gather_s=3600.0)
    assert in_words(made[0].heard) == [[], ["json:$.user"], ["1", "2"], ["3"]]


def test_who_adds_up_for_himself_is_told_when_something_follows_from_one_record_more() -> None:
    made, start = listening()
    calm: list[int] = []

    async def scenario(client: RecorderClient) -> None:
        def add(number: int, size_bytes: int) -> None:
            calm.append(client.calm_below_bytes)
            held = client.buffered_bytes + size_bytes
            if held < client.calm_below_bytes:
                client.buffered_bytes = held
            else:
                assert client.reserve(size_bytes)
            client.add([short(number)], [size_bytes], [Tally()])

        await until(lambda: client.calm_below_bytes == 0)  # nothing waits: the first record begins a batch
        add(1, 600)
        add(2, 600)
        add(3, 30_000)  # a quarter of what may be held: the batch goes
        await until(lambda: len(made[0].heard) == 2)
        add(4, 600)  # one is on its way: nothing follows until all room is taken
        assert not client.reserve(100_000 - client.buffered_bytes + 1)
        made[0].may_answer.release(2)
        client.follow(Setup(rules=("json:$.user",)))
        await until(lambda: client.calm_below_bytes == 25_000)  # the answer came: the next is gathered
        add(5, 30_000)
        await until(lambda: client.calm_below_bytes == 0)
        assert client.buffered_bytes == 0

    with_recorder(start, scenario, buffer_bytes=100_000, gather_s=3600.0)
    assert calm == [0, 25_000, 25_000, 100_000, 25_000]
    assert in_words(made[0].heard) == [[], ["1", "2", "3"], ["json:$.user"], ["4", "5"]]


def test_a_recorder_that_dies_while_it_reads_leaves_large_bodies_to_the_next_one(tmp_path: Path) -> None:
    tally, died = Tally(), tmp_path / "died"
    dies_once = textwrap.dedent(
        f"""
        import os
        from pathlib import Path
        from logger_sidecar.recording import recorder
        finished, died = recorder.Recorder._finished, Path({str(died)!r})
        def dying(self, records):
            if not died.exists():
                died.write_bytes(bytes(records[0].request_body)[:9])
                os._exit(9)
            return finished(self, records)
        recorder.Recorder._finished = dying
        recorder.main()
        """
    )
    place = tmp_path / "spool"

    def start(theirs: socket.socket) -> RecorderProcess:
        return subprocess.Popen([sys.executable, "-c", dies_once], env=environment(place), stdin=theirs.fileno())

    bodies = [bytes([65 + number]) * 200_000 for number in range(5)]

    async def scenario(client: RecorderClient) -> None:
        for number, body in enumerate(bodies):
            record = list(short(number))
            pieces = (body[:70_000], body[70_000:])
            record[8] = (body, as_received(body), pieces, tuple(map(as_received, pieces)))[number % 4]
            assert client.put(cast("Record", tuple(record)), 200_600, tally)
        await until(lambda: tally.counts["written"] == 5)
        assert client.restarts == 1

    with_recorder(start, scenario)
    assert died.read_bytes() == b"A" * 9
    assert [one.request.body for one in read(place) if isinstance(one, InferenceEvent)] == bodies


def test_records_wait_while_there_is_no_memory_for_their_batch(tmp_path: Path) -> None:
    tally = Tally()

    async def scenario(client: RecorderClient) -> None:
        assert client.put(encode_frame(event(1)), 600, tally)
        await until(lambda: tally.counts["written"] == 1)  # the recorder has started, without the limit
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            assert client.put(encode_frame(event(2, b"x" * 90_000)), 90_600, tally)
            await asyncio.sleep(0.1)
            assert client.buffered_records == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await until(lambda: tally.counts["written"] == 2)

    with_recorder(start_recorder_process(environment(tmp_path)), scenario)
    assert read(tmp_path) == [event(1), event(2, b"x" * 90_000)]
