"""A sidecar killed at any moment loses nothing that was in its spool, its helpers killed cost no inference anything.

A model server that dies is seen as it is.
"""

import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from driftline.events import InferenceEvent
from driftline.records import Malformed
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.harm.rig import (
    Figures,
    Report,
    SidecarProcess,
    alternate,
    drive,
    echo_server,
    settled,
    sidecar_process,
)
from tests.parts.processes import free_ports, wait_until

KILLS = 8
BROKEN = {"IncompleteReadError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError"}


class Load:
    """A load in a thread, until it is told to stop."""

    def __init__(self, port: int, tag: str) -> None:
        self._enough = threading.Event()
        self._reports: list[Report] = []
        self._thread = threading.Thread(target=self._run, args=(port, tag))
        self._thread.start()

    def _run(self, port: int, tag: str) -> None:
        self._reports.append(drive(port, 1_000_000, tag=tag, keep_on=lambda: not self._enough.is_set()))

    def stop(self) -> Report:
        self._enough.set()
        self._thread.join(150)
        return self._reports[0]


def read_spool(directory: Path, *, once: bool = True) -> tuple[dict[str, str], int]:
    """Request ids by event id, as a new reader finds them, and how many records were damaged.

    ``once``: assert that no event is there twice.
    """
    source = SpoolSource(directory, "probe", lambda _partition: 0)
    events: dict[str, str] = {}
    damaged = 0
    while records := source.poll(1000, 0.0):
        for record in records:
            if isinstance(record.content, Malformed):
                damaged += 1
            elif isinstance(record.content, InferenceEvent):
                assert not once or record.content.id not in events, "an event id came twice"
                events[record.content.id] = record.content.request_id
    source.close()
    return events, damaged


@pytest.mark.slow
def test_what_was_in_the_spool_outlives_any_number_of_kills(tmp_path: Path, echo: int, figures: Figures) -> None:
    spool = tmp_path / "spool"
    moments = random.Random(20261121)
    answered: set[str] = set()
    in_flight_failed = unwritten = 0
    for life in range(KILLS):
        with sidecar_process(tmp_path / f"life-{life}", echo, spool=spool) as sidecar:
            load = Load(sidecar.port, f"life{life}")
            time.sleep(moments.uniform(0.05, 0.6))
            before, _ = read_spool(spool)
            sidecar.process.send_signal(signal.SIGKILL)
            report = load.stop()
        after, damaged = read_spool(spool)
        assert before.items() <= after.items()
        # One torn frame at the end of each life at most, and nothing else harmed.
        assert damaged <= life + 1
        # Whoever was not answered saw a connection break, as when a server dies; nobody was answered wrong.
        assert set(report.wrong.values()) <= BROKEN
        in_flight_failed += len(report.wrong)
        answered.update(report.right)
        unwritten = len(answered - set(after.values()))
    figures.say(
        f"killed {KILLS} times: {len(answered)} answered, {in_flight_failed} broken off in flight, {len(after)} "
        f"in the spool, {unwritten} answered but not yet handed to the system when it was killed, {damaged} torn frames"
    )
    with sidecar_process(tmp_path / "last", echo, spool=spool) as sidecar:
        assert drive(sidecar.port, 500, tag="last").wrong == {}
        assert settled(sidecar.outcomes, 500) == {"logged": 500}
        last, _ = read_spool(spool)
    assert after.items() <= last.items()
    assert {f"last-{number}" for number in range(500)} <= set(last.values())


@pytest.mark.slow
def test_whoever_crashes_leaves_no_image_of_its_memory(tmp_path: Path, echo: int) -> None:
    inside = ["sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh"]
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("no process may leave one here")
    with sidecar_process(tmp_path, echo, inside=inside, sidecar_redact="pattern:@email") as sidecar:
        assert drive(sidecar.port, 10, tag="any").wrong == {}
        settled(sidecar.outcomes, 10)
        pids = [sidecar.pid, *sidecar.running("recording.recorder"), *sidecar.running("finishing.process")]
        assert [resource.prlimit(pid, resource.RLIMIT_CORE) for pid in pids] == [(0, 0)] * 3


def _logged(sidecar: SidecarProcess) -> int:
    return sidecar.outcomes().get("logged", 0)


@pytest.mark.slow
def test_helpers_killed_again_and_again_cost_no_inference_and_what_counts_as_logged_is_in_the_spool(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    spool = tmp_path / "spool"
    kills = {"recording.recorder": 0, "finishing.process": 0}
    enough = threading.Event()
    # With a rule every event passes the finishing process, too.
    with sidecar_process(tmp_path / "work", echo, spool=spool, sidecar_redact="pattern:@email") as sidecar:

        def kill() -> None:
            logged = 0
            for module in itertools.cycle(kills):
                before: list[int] = []
                # One that has only just begun is left alone, and so is any until more is written, or nothing ever were.
                while not (found := sidecar.running(module)) or found != before or _logged(sidecar) <= logged:
                    before = found
                    if enough.wait(1.0):
                        return
                logged = _logged(sidecar)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found[0], signal.SIGKILL)
                    kills[module] += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            without, with_fault = alternate(healthy, sidecar)
            more = drive(sidecar.port, 1_000_000, tag="more", keep_on=lambda: min(kills.values()) < 3)
        finally:
            enough.set()
            killer.join()
        figures.compare(f"helpers killed {kills}", without, with_fault)
        assert more.wrong == {}
        total = 3000 + len(more.right)
        outcomes = settled(sidecar.outcomes, total)
        figures.say(f"helpers killed: {dict(outcomes)}")
        # A batch, or a frame, that three kills met in a row is given up, and counted; so is what finds the buffer full,
        # where requests come faster than the helpers, when they live, can redact them: how many, the machine decides.
        assert set(outcomes) <= {"logged", "recorder_failed", "finishing_failed", "buffer_full"}
        assert outcomes["logged"] > (total - outcomes.get("buffer_full", 0)) // 2
        assert drive(sidecar.port, 200, tag="again").wrong == {}
        again = settled(sidecar.outcomes, total + 200)
        assert again["logged"] == outcomes["logged"] + 200
    events, damaged = read_spool(spool, once=False)
    # One that was written when its recorder died is written again under its id; one given up may be there all the same.
    assert len(events) >= again["logged"]
    assert damaged <= kills["recording.recorder"]


def descriptors(sidecar: SidecarProcess) -> int:
    """How many the proxy has open."""
    return len(list(Path(f"/proc/{sidecar.pid}/fd").iterdir()))


@pytest.mark.slow
def test_a_recorder_that_cannot_be_started_for_want_of_descriptors_is_started_when_there_are_some(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    with sidecar_process(tmp_path / "work", echo) as sidecar:
        assert drive(sidecar.port, 200, tag="before").wrong == {}
        with contextlib.ExitStack() as idle:
            soft, hard = resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE)
            open_before = descriptors(sidecar)
            resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (open_before + 60, hard))
            for _ in range(80):
                idle.enter_context(socket.create_connection(("127.0.0.1", sidecar.port), timeout=60))
            wait_until(lambda: descriptors(sidecar) >= open_before + 60)
            [recorder] = sidecar.running("recording.recorder")
            os.kill(recorder, signal.SIGKILL)
            wait_until(lambda: "the recorder cannot be started" in sidecar.process.output())
        wait_until(lambda: descriptors(sidecar) <= open_before + 10)
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("no recorder for want of descriptors", without, with_fault)
        assert settled(sidecar.outcomes, 3200) == {"logged": 3200}
        resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_a_recorder_that_stands_still_costs_no_inference(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    with sidecar_process(tmp_path / "work", echo, sidecar_buffer_bytes=1 << 21) as sidecar:
        assert drive(sidecar.port, 200, tag="before").wrong == {}
        settled(sidecar.outcomes, 200)
        [recorder] = sidecar.running("recording.recorder")
        os.kill(recorder, signal.SIGSTOP)
        try:
            without, with_fault = alternate(healthy, sidecar)
        finally:
            os.kill(recorder, signal.SIGCONT)
        figures.compare("recorder stopped", without, with_fault)
        outcomes = settled(sidecar.outcomes, 3200)
        figures.say(f"recorder stopped: {dict(outcomes)}")
        assert set(outcomes) == {"logged", "buffer_full"}
        assert drive(sidecar.port, 200, tag="again").wrong == {}
        again = settled(sidecar.outcomes, 3400)
        assert again == {**outcomes, "logged": outcomes["logged"] + 200}


@pytest.mark.slow
def test_a_model_server_in_a_crash_loop_is_seen_as_it_is_and_every_call_is_logged(
    tmp_path: Path, figures: Figures
) -> None:
    port = free_ports(1)[0]
    enough = threading.Event()
    crashes = 0
    # While there is no model server clients are told so faster than a recorder behind them, on a busy core, can write.
    with sidecar_process(tmp_path / "sidecar", port, sidecar_buffer_bytes=1 << 27) as sidecar:

        def crash_loop() -> None:
            nonlocal crashes
            while not enough.is_set():
                with echo_server(tmp_path, port):
                    time.sleep(0.3)
                crashes += 1
                time.sleep(0.1)

        thread = threading.Thread(target=crash_loop)
        thread.start()
        report = drive(sidecar.port, 1_000_000, tag="crash", keep_on=lambda: crashes < 5)
        enough.set()
        thread.join(150)
        # What is not the model server's own answer says that there was none.
        assert set(report.wrong.values()) <= {"status 502", *BROKEN}
        assert report.right
        assert report.wrong
        total = len(report.right) + len(report.wrong)
        assert settled(sidecar.outcomes, total) == {"logged": total}
        with echo_server(tmp_path, port):
            assert drive(sidecar.port, 500, tag="well").wrong == {}
        figures.say(
            f"model server crashed {crashes} times: {len(report.right)} answered, {len(report.wrong)} told so "
            f"({sorted(set(report.wrong.values()))}), all {total} logged; 500 of 500 right afterwards"
        )
