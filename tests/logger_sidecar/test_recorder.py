"""The recorder: whatever becomes of its process, each record has one fate, and the proxy never waits."""

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.finishing.captured import Captured, encode_captured
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.recording.event_frames import request_part, response_part, stream_part
from logger_sidecar.recording.recorder_client import (
    RecorderClient,
    RecorderProcess,
    StartRecorder,
    next_wait_s,
    start_recorder_process,
)
from logger_sidecar.recording.recorder_wire import (
    Record,
)
from tests.logger_sidecar.test_spool import event, read
from tests.parts.processes import wait_until

Scenario = Callable[[RecorderClient], Coroutine[Any, Any, None]]


class Tally:
    """A receipt that counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def written(self, count: int = 1) -> None:
        self.counts["written"] += count

    def lost(self, reason: str) -> None:
        self.counts[reason] += 1


def environment(directory: Path, **settings: object) -> dict[str, str]:
    chosen = {"spool_directory": directory, "spool_max_bytes": 1 << 24, "segment_bytes": 100_000, **settings}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **{f"DRIFTLINE_RECORDER_{name.upper()}": str(value) for name, value in chosen.items()},
    }


def with_recorder(
    start: StartRecorder,
    scenario: Scenario,
    *,
    setup: Setup | None = None,
    buffer_bytes: int = 1 << 22,
    answer_timeout_s: float = 120.0,
    gather_s: float = 0.01,
    when_idle: Callable[[], None] = lambda: None,
) -> None:
    async def run() -> None:
        client = RecorderClient(
            start,
            setup or Setup(),
            buffer_bytes=buffer_bytes,
            answer_timeout_s=answer_timeout_s,
            gather_s=gather_s,
            when_idle=when_idle,
        )
        await client.start()
        try:
            await scenario(client)
        finally:
            await client.close(60.0)

    uvloop.run(run())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(24_000):  # two minutes
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def short(number: int) -> Record:
    """A record that takes the fast path, of the event ``event(number)``."""
    wanted = event(number)
    stream = stream_part(
        source=wanted.source,
        model=wanted.model,
        model_version="",
        variant="stable",
        namespace="default",
        protocol=wanted.protocol,
        status_code=200,
        sample_rate=1.0,
    )
    return (
        stream,
        wanted.id,
        wanted.request_id,
        wanted.time_ns,
        0.0,
        0.0,
        False,
        request_part(Payload()),
        wanted.request.body,
        response_part(Payload()),
        b"",
    )


def test_records_of_either_kind_become_events_in_their_order(tmp_path: Path) -> None:
    tally = Tally()

    async def scenario(client: RecorderClient) -> None:
        for number in range(300):
            record = short(number) if number % 3 else encode_frame(event(number))
            assert client.put(record, 600, tally)
        await until(lambda: tally.counts["written"] == 300)
        assert (client.buffered_bytes, client.buffered_records) == (0, 0)
        assert client.state.bytes_held > 300 * 100
        assert client.state.oldest_time_s > 1e9

    with_recorder(start_recorder_process(environment(tmp_path)), scenario)
    assert read(tmp_path) == [event(number) for number in range(300)]


def test_what_is_put_until_the_end_is_written_before_it(tmp_path: Path) -> None:
    tally = Tally()

    async def scenario(client: RecorderClient) -> None:
        for number in range(9000):
            assert client.put(short(number), 300, tally)

    with_recorder(start_recorder_process(environment(tmp_path)), scenario)
    assert tally.counts == {"written": 9000}
    assert len(read(tmp_path)) == 9000


def test_a_recorder_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    tally, total = Tally(), 3000

    async def scenario(client: RecorderClient) -> None:
        for number in range(total):
            assert client.put(short(number), 600, tally)
            if number % 500 == 250:
                # Each recorder does some work: a batch that ended three of them would be given up.
                before = tally.counts["written"]
                await until(lambda: tally.counts["written"] > before)  # noqa: B023 - awaited here
                os.kill(client.pid or 0, signal.SIGKILL)
        await until(lambda: tally.counts["written"] == total)
        assert client.restarts >= 3

    with_recorder(start_recorder_process(environment(tmp_path)), scenario)
    found = Counter(one.id for one in read(tmp_path) if isinstance(one, InferenceEvent))
    # What was written and not yet answered for is written again, under the same id.
    assert set(found) == {str(number) for number in range(total)}


def test_without_a_recorder_memory_is_bounded_and_the_rest_refused(tmp_path: Path) -> None:
    tally, refused = Tally(), 0

    def none(_socket: socket.socket) -> RecorderProcess:
        raise OSError("no process to be had")

    async def scenario(client: RecorderClient) -> None:
        nonlocal refused
        for number in range(100):
            refused += not client.put(short(number), 1000, tally)
        assert client.buffered_bytes <= 20_000

    with_recorder(none, scenario, buffer_bytes=20_000)
    assert refused == 80
    assert tally.counts == {"recorder_failed": 20}


def test_a_recorder_that_cannot_be_started_at_first_gets_everything_later(tmp_path: Path) -> None:
    tally, tries = Tally(), 0
    real = start_recorder_process(environment(tmp_path))

    def at_the_third_try(theirs: socket.socket) -> RecorderProcess:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("not yet")
        return real(theirs)

    async def scenario(client: RecorderClient) -> None:
        assert client.put(short(1), 600, tally)
        await until(lambda: tally.counts["written"] == 1)

    with_recorder(at_the_third_try, scenario)
    assert tries == 3


@pytest.mark.slow
def test_pauses_grow_while_recorders_die_young_and_begin_anew_when_one_was_well() -> None:
    pauses = [0.0]
    for _ in range(9):
        pauses.append(next_wait_s(pauses[-1], lived_s=0.5))
    assert pauses == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    # One that nobody asked anything can have answered nothing.
    assert next_wait_s(pauses[-1], lived_s=3600.0) == 0.2


def test_memory_is_given_back_once_in_each_pause(tmp_path: Path) -> None:
    tally, pauses, found = Tally(), 0, []

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    def has_written(count: int) -> bool:
        return tally.counts["written"] == count

    def look(client: RecorderClient) -> None:
        client._rested_s = -math.inf  # as if it were due
        client.tick()
        found.append(pauses)

    async def scenario(client: RecorderClient) -> None:
        look(client)
        look(client)
        for number in (1, 2):
            assert client.put(short(number), 600, tally)
            look(client)
            await until(partial(has_written, number))
            look(client)
            look(client)
            look(client)

    with_recorder(start_recorder_process(environment(tmp_path)), scenario, when_idle=pause)
    assert found == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]


def test_a_recorder_that_hangs_is_replaced(tmp_path: Path) -> None:
    tally, started = Tally(), 0
    real = start_recorder_process(environment(tmp_path))

    def at_first_a_sleeper(theirs: socket.socket) -> RecorderProcess:
        nonlocal started
        started += 1
        if started == 1:
            return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=theirs.fileno())
        return real(theirs)

    async def scenario(client: RecorderClient) -> None:
        assert client.put(short(1), 600, tally)
        for _ in range(600):
            client.tick()
            await asyncio.sleep(0.1)
            if started == 2:
                client._answer_timeout_s = 60.0  # the real one may take as long to start as a slow machine does
            if tally.counts["written"]:
                break

    with_recorder(at_first_a_sleeper, scenario, answer_timeout_s=1.0)
    assert started == 2
    assert read(tmp_path) == [event(1)]


def test_a_batch_that_ends_every_recorder_is_given_up_and_the_next_one_is_not(tmp_path: Path) -> None:
    tally = Tally()
    ends_at = textwrap.dedent(
        """
        import os
        from logger_sidecar.recording import recorder
        taken = recorder.Recorder._take
        recorder.Recorder._take = lambda self, records: (
            os._exit(9) if b"poison" in str(records).encode() else taken(self, records)
        )
        recorder.main()
        """
    )

    def start(theirs: socket.socket) -> RecorderProcess:
        return subprocess.Popen([sys.executable, "-c", ends_at], env=environment(tmp_path), stdin=theirs.fileno())

    async def scenario(client: RecorderClient) -> None:
        assert client.put(encode_frame(event(1, b"poison")), 600, tally)
        await until(lambda: tally.counts["recorder_failed"] == 1)
        assert client.buffered_bytes == 0
        assert client.put(short(2), 600, tally)
        await until(lambda: tally.counts["written"] == 1)

    with_recorder(start, scenario)
    assert read(tmp_path) == [event(2)]


def test_each_loss_has_its_reason_and_costs_no_other_record(tmp_path: Path) -> None:
    tally = Tally()
    place = tmp_path / "spool"
    (tmp_path / "spool").mkdir()
    (place / "reader.cursor").write_text("0")  # somebody reads, and has read nothing

    async def scenario(client: RecorderClient) -> None:
        for number in range(100):
            assert client.put(encode_frame(event(number, b"x" * 1000)), 1600, tally)
        await until(lambda: sum(tally.counts.values()) == 100)

    bounds = {"spool_max_bytes": 50_000, "segment_bytes": 10_000}
    with_recorder(start_recorder_process(environment(place, **bounds)), scenario)
    assert set(tally.counts) == {"written", "spool_full"}
    assert len(read(place)) == tally.counts["written"] > 30


def test_only_what_needs_it_is_finished_and_rules_change_while_it_runs(tmp_path: Path) -> None:
    tally = Tally()
    stream = Captured(
        id="stream",
        source="/a/b/c",
        model="m",
        time_ns=1,
        request_id="r",
        protocol="generate",
        status_code=200,
        request=Payload(body=b"{}"),
        response=Payload(content_type="text/event-stream", body=b'data: {"text_output": "a"}\n\n'),
        arrivals=[(29, 1.5)],
    )
    secret = event(7, b'{"user": "ada"}')

    async def scenario(client: RecorderClient) -> None:
        client.put((encode_captured(stream),), 600, tally)
        client.put(encode_frame(secret), 600, tally)
        await until(lambda: tally.counts["written"] == 2)
        client.follow(Setup(rules=("json:$.user",)))
        client.put(encode_frame(secret), 600, tally)
        await until(lambda: tally.counts["written"] == 3)

    with_recorder(start_recorder_process(environment(tmp_path)), scenario)
    folded, before, after = read(tmp_path)
    assert isinstance(folded, InferenceEvent)
    assert (folded.chunk_count, folded.response.content_type) == (1, "application/json")
    assert before == secret
    assert isinstance(after, InferenceEvent)
    assert after.redacted
    assert b"ada" not in after.request.body


@pytest.mark.slow
def test_a_proxy_killed_at_any_moment_leaves_what_reached_the_socket(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from logger_sidecar.finishing.wire import Setup
        from logger_sidecar.recording.recorder_client import RecorderClient, start_recorder_process
        from tests.logger_sidecar.test_recorder import environment, short
        class Said:
            def __init__(self, number): self.number = number
            def written(self, count): print(self.number, flush=True)
            def lost(self, reason): raise AssertionError(reason)
        async def main():
            start = start_recorder_process(environment(Path(sys.argv[1])))
            client = RecorderClient(start, Setup(), buffer_bytes=1 << 22, answer_timeout_s=120)
            await client.start()
            number = 0
            while True:
                is_taken = client.put(short(number), 600, Said(number))
                number += is_taken
                if not is_taken or number % 50 == 0:
                    await asyncio.sleep(0.001)
        asyncio.run(main())
        """
    )
    for round_number in range(4):
        place = tmp_path / str(round_number)
        child = subprocess.Popen([sys.executable, "-c", script, str(place)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(1000 + 300 * round_number)]
        child.kill()
        said += child.stdout.readlines()
        child.wait()
        last = max(int(line) for line in said if line.endswith("\n"))
        wait_until(lambda place=place, last=last: len(numbers_in(place)) > last, what="what had reached the socket")  # type: ignore[misc]
        found = numbers_in(place)
        assert found == list(range(len(found)))


def numbers_in(place: Path) -> list[int]:
    """The numbers of the events there, as a new reader finds them."""
    return [int(one.id) for one in read(place, f"reader{time.time_ns()}") if isinstance(one, InferenceEvent)]
